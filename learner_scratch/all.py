"Everything at once: `from learner_scratch.all import *` is how a reader's own notebook begins. Written by hand."
import math, os, random, time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from glob import glob
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch, torch.nn.functional as F
from fastcore.basics import GetAttr, Self, defaults, first, noop, num_cpus, patch, store_attr
from fastcore.foundation import L
from fastcore.parallel import parallel
from fastprogress.fastprogress import progress_bar
from PIL import Image
from torch import Tensor, nn

from learner_scratch.support.trees import *
from learner_scratch.support.hypers import *
from learner_scratch.support.steppers import *
from learner_scratch.support.listeners import *
from learner_scratch.support.snapshot import *
from learner_scratch.support.stats import *
from learner_scratch.support.measures import *
from learner_scratch.support.losses import *
from learner_scratch.support.curves import *
from learner_scratch.support.progress import *
from learner_scratch.support.random import *
from learner_scratch.support.channel import SharedBytes, default_start_method, free_memory
from learner_scratch.support.workers import WorkerError, WorkerPool
from learner_scratch.support.cache import *
from learner_scratch.support.datasets import *
from learner_scratch.support.images import *
from learner_scratch.support.splits import *
from learner_scratch.support.loading import *
from learner_scratch.data import *
from learner_scratch.module import *
from learner_scratch.loss import *
from learner_scratch.learner import *
from learner_scratch.callbacks import *
from learner_scratch.schedulers import *
from learner_scratch.train.augment import *
from learner_scratch.train.optimizers import *
from learner_scratch.train.muon import *
from learner_scratch.train.schedules import *
from learner_scratch.train.accumulation import *
from learner_scratch.train.precision import *
from learner_scratch.train.averages import *
from learner_scratch.train.cross_entropy import *
from learner_scratch.watch.metrics import *
from learner_scratch.watch.recorder import *
from learner_scratch.watch.trackers import *
from learner_scratch.watch.loggers import *
from learner_scratch.watch.activations import *
from learner_scratch.use.data import *
from learner_scratch.use.predictions import *
from learner_scratch.use.interpretation import *
from learner_scratch.use.gradcam import *
from learner_scratch.use.tta import *
from learner_scratch.use.to_torch import to_torch
from learner_scratch.use.checkpoints import CheckpointCallback, newest_checkpoint, read_checkpoint
from learner_scratch.use.lookback import TraceCallback, first_difference
from learner_scratch.scale.distributed import DistributedCB, SyncBatchNorm
from learner_scratch.scale.sharded import ShardOptimizer
from learner_scratch.research.multilabel import MultiLabel, accuracy_multi, binary_cross_entropy_with_logits
from learner_scratch.research.unet import JaccardCoeff, UNet
from learner_scratch.use.export import ImageInput, load_learner, register_arch, register_loss, register_tfm
from learner_scratch.research.batchnorm import *
from learner_scratch.research.resnet import *
from learner_scratch.research.whitening import *
from learner_scratch.research.mixup import *
from learner_scratch.research.smoothing import *
from learner_scratch.research.papers import *
from learner_scratch.research.ladder import *
from learner_scratch.scale.compile import *
from learner_scratch.compare.interop import *
del exp, kept, single, outputs, of_class, ordered, views, some_of, in_words, as_classes, cut_at, classes_of, class_numbers
del mix, uniform, smooth, minimum, valley, resize, download, events, schedules, ladder     # too common: in their modules
