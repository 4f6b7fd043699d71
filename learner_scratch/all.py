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

from learner_scratch.support.progress import *
from learner_scratch.support.random import *
from learner_scratch.support.workers import *
from learner_scratch.support.cache import *
from learner_scratch.support.datasets import *
from learner_scratch.data import *
from learner_scratch.module import *
from learner_scratch.loss import *
from learner_scratch.learner import *
from learner_scratch.callbacks import *
from learner_scratch.schedulers import *
from learner_scratch.research.augment import *
from learner_scratch.research.blocks import *
from learner_scratch.research.optimizers import *
from learner_scratch.research.metrics import *
from learner_scratch.research.recorder import *
from learner_scratch.research.schedules import *
from learner_scratch.research.training import *
from learner_scratch.research.watching import *
from learner_scratch.research.activations import *
from learner_scratch.research.batchnorm import *
from learner_scratch.research.resnet import *
from learner_scratch.research.mixup import *
from learner_scratch.research.papers import *
from learner_scratch.research.ladder import *
from learner_scratch.research.interop import *
