"""The same kill, for others: Lightning, Keras (torch backend), HF Trainer, Composer, and torchdata's loader in a loop by hand.

    python benchmarks/survive_peers.py --peers peers/bin/python [--composer composer/bin/python] [--save]

    python -m venv peers && peers/bin/pip install lightning keras transformers accelerate torchdata
    python -m venv composer && composer/bin/pip install mosaicml     # it wants an older torch

Each trains a small network with dropout on 512 points: three epochs of 32 shuffled batches, Adam, a checkpoint every four batches
where the library can do that, at the best settings that its documentation names. A training is killed by SIGKILL after batch 45,
in the middle of the second epoch, and started again by the same line. Then:

`kill`      are the weights at the end, bit for bit, those of the training that nobody killed?
`plain`     the same, without dropout: no random number but the order of the points
`workers`   the same, if it goes on with two workers in place of none
`damaged`   the same, if the newest checkpoint is cut in half before, as by a power cut in the middle of a save

A result is 'same', 'differs', or the error that ended the process."""
import argparse, json, os, shutil, signal, subprocess, sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()
n,bs,n_epochs,every = 512,16,3,4

def points():
    import torch
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 8, generator=g)
    return x, (x.norm(dim=1)>2.7).long()

def torch_model():
    import torch.nn as nn
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(float(os.environ['DROPOUT'])), nn.Linear(32, 2))

class Dies:
    "SIGKILL after so many training batches"
    def __init__(self, left): self.left = left
    def __call__(self):
        if self.left is None: return
        self.left -= 1
        if not self.left: os.kill(os.getpid(), signal.SIGKILL)

def result(arrays):
    found = sha256()
    for o in arrays: found.update(o.tobytes())
    print('RESULT', found.hexdigest())

def weights(model): result(v.detach().cpu().numpy() for v in model.state_dict().values())

# ---- the arms

def learner_scratch(folder, workers, dies):
    import torch
    from functools import partial
    from learner_scratch.all import Adam, Callback, CheckpointCallback, DataLoaders, Learner, cross_entropy, set_seed
    class Kills(Callback):
        order = 2000
        def after_batch(self):
            if self.training: dies()
    set_seed(42)
    x,y = points()
    dls = DataLoaders.from_dsets(list(zip(x, y)), list(zip(x[:32], y[:32])), bs=bs, n_workers=workers)
    learn = Learner(torch_model(), dls, cross_entropy, 1e-3, opt_func=Adam, cbs=[CheckpointCallback(folder, every_n_batches=every, resume=True), Kills()])
    with learn.no_logging(): learn.fit(n_epochs)
    dls.close()
    weights(learn.model)

def by_hand(folder, workers, dies):
    "torch.save after each epoch: the usual script"
    import torch, torch.nn.functional as F
    torch.manual_seed(42)
    loader = torch.utils.data.DataLoader(list(zip(*points())), bs, shuffle=True, num_workers=workers)
    model,start,path = torch_model(),0,Path(folder)/'last.pt'
    opt = torch.optim.Adam(model.parameters(), 1e-3)
    if path.exists():
        saved = torch.load(path)
        model.load_state_dict(saved['model']); opt.load_state_dict(saved['opt']); start = saved['epoch']
    for epoch in range(start, n_epochs):
        for x,y in loader:
            F.cross_entropy(model(x), y).backward()
            opt.step(); opt.zero_grad(); dies()
        torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), epoch=epoch+1), path)
    weights(model)

def torchdata(folder, workers, dies):
    "StatefulDataLoader, with all random states, by hand"
    import torch, torch.nn.functional as F
    from torchdata.stateful_dataloader import StatefulDataLoader
    torch.manual_seed(42)
    loader = StatefulDataLoader(list(zip(*points())), bs, shuffle=True, num_workers=workers)
    model,start,path,step = torch_model(),0,Path(folder)/'last.pt',0
    opt = torch.optim.Adam(model.parameters(), 1e-3)
    if path.exists():
        saved = torch.load(path, weights_only=False)
        model.load_state_dict(saved['model']); opt.load_state_dict(saved['opt']); loader.load_state_dict(saved['loader'])
        start,step = saved['epoch'],saved['step']
        random = saved['random']
    else: random = None
    for epoch in range(start, n_epochs):
        for i,(x,y) in enumerate(loader):
            if random is not None: torch.set_rng_state(random); random = None
            F.cross_entropy(model(x), y).backward()
            opt.step(); opt.zero_grad(); step += 1
            if step%every==0:
                state = dict(model=model.state_dict(), opt=opt.state_dict(), loader=loader.state_dict(), epoch=epoch, step=step, random=torch.get_rng_state())
                torch.save(state, path.with_suffix('.part')); os.replace(path.with_suffix('.part'), path)
            dies()
    weights(model)

def lightning(folder, workers, dies):
    "ModelCheckpoint(every_n_train_steps, save_last), ckpt_path='last', seed_everything, and torchdata's stateful loader"
    import torch, torch.nn.functional as F, lightning as L, logging, warnings
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint
    from torchdata.stateful_dataloader import StatefulDataLoader
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR); warnings.simplefilter('ignore')
    class Model(L.LightningModule):
        def __init__(self): super().__init__(); self.net = torch_model()
        def training_step(self, batch, i): return F.cross_entropy(self.net(batch[0]), batch[1])
        def configure_optimizers(self): return torch.optim.Adam(self.parameters(), 1e-3)
    class Kills(Callback):
        def on_train_batch_end(self, *args): dies()
    L.seed_everything(42, workers=True, verbose=False)
    loader = StatefulDataLoader(list(zip(*points())), bs, shuffle=True, num_workers=workers)
    keep = ModelCheckpoint(folder, every_n_train_steps=every, save_last=True, save_top_k=-1)
    trainer = L.Trainer(max_epochs=n_epochs, accelerator='cpu', logger=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[keep, Kills()])
    model = Model()
    trainer.fit(model, loader, ckpt_path='last')
    weights(model.net)

def keras(folder, workers, dies):
    "BackupAndRestore(save_freq, double_checkpoint), with the backend torch"
    os.environ['KERAS_BACKEND'] = 'torch'
    import keras
    keras.utils.set_random_seed(42)
    x,y = (o.numpy() for o in points())
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, 'relu'), keras.layers.Dropout(float(os.environ['DROPOUT']), seed=1), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    class Kills(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None): dies()
    backup = keras.callbacks.BackupAndRestore(folder, save_freq=every, double_checkpoint=True, delete_checkpoint=False)
    model.fit(x, y, batch_size=bs, epochs=n_epochs, verbose=0, callbacks=[backup, Kills()])
    result(model.get_weights())

def trainer(folder, workers, dies):
    "HF Trainer: save_steps, resume_from_checkpoint"
    import torch, torch.nn as nn, torch.nn.functional as F
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
    set_seed(42)
    class Model(nn.Module):
        def __init__(self): super().__init__(); self.net = torch_model()
        def forward(self, x, y=None):
            out = self.net(x)
            return dict(loss=F.cross_entropy(out, y), logits=out)
    class Kills(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs): self.was = True
        def on_step_begin(self, args, state, control, **kwargs):
            if getattr(self, 'was', False): dies()     # after a save, which follows on_step_end
    items = [dict(x=x, y=y) for x,y in zip(*points())]
    args = TrainingArguments(str(folder), num_train_epochs=n_epochs, per_device_train_batch_size=bs, save_steps=every, learning_rate=1e-3, seed=42,
                             use_cpu=True, report_to='none', disable_tqdm=True, dataloader_num_workers=workers, logging_strategy='no')
    train = Trainer(Model(), args, train_dataset=items, callbacks=[Kills()])
    train.train(resume_from_checkpoint=any(Path(folder).glob('checkpoint-*')) or None)
    weights(train.model.net)

def composer(folder, workers, dies):
    "Composer: save_interval in batches, autoresume"
    import torch, torch.nn.functional as F
    from composer import Callback, Trainer
    from composer.models import ComposerModel
    from composer.utils.reproducibility import seed_all
    seed_all(42)
    class Model(ComposerModel):
        def __init__(self): super().__init__(); self.net = torch_model()
        def forward(self, batch): return self.net(batch[0])
        def loss(self, outputs, batch): return F.cross_entropy(outputs, batch[1])
    class Kills(Callback):
        def batch_end(self, state, logger): dies()
    loader = torch.utils.data.DataLoader(list(zip(*points())), bs, shuffle=True, num_workers=workers)
    model = Model()
    run = Trainer(model=model, train_dataloader=loader, optimizers=torch.optim.Adam(model.parameters(), 1e-3), max_duration=f'{n_epochs}ep', seed=42, device='cpu',
                  save_folder=str(folder), save_interval=f'{every}ba', autoresume=True, run_name='run', callbacks=[Kills()], progress_bar=False, save_overwrite=False)
    run.fit()
    weights(model.net)

arms = dict(learner_scratch=learner_scratch, by_hand=by_hand, torchdata=torchdata, lightning=lightning, keras=keras, trainer=trainer, composer=composer)

# ---- what happens to them

def start(arm, python, folder, workers, die_after=None, dropout=.2):
    "The result, None if it was killed, or the error"
    args = [python, here, '--child', json.dumps([arm, str(folder), workers, die_after])]
    env = {**os.environ, 'NO_BAR': '1', 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'TOKENIZERS_PARALLELISM': 'false', 'DROPOUT': str(dropout), 'PYTHONPATH': str(here.parents[1])*(arm=='learner_scratch')}
    done = subprocess.run(args, capture_output=True, text=True, env=env, timeout=300)
    if done.returncode==-signal.SIGKILL: return None
    if done.returncode: return next((o for o in done.stderr.splitlines()[::-1] if 'Error' in o), done.stderr[-300:])[:200]
    return next(o.split()[1] for o in done.stdout.splitlines() if o.startswith('RESULT'))

def newest(folder):
    "The newest file with weights"
    files = [o for o in Path(folder).rglob('*') if o.is_file() and not o.is_symlink() and o.stat().st_size>1000]
    return max(files, key=lambda o: (o.stat().st_mtime_ns, o.stat().st_size))

def look(arm, python, tmp):
    "One arm, all questions"
    want = start(arm, python, tmp/'whole', 0)
    again = start(arm, python, tmp/'again', 0)
    if not want or len(want)!=64: return dict(arm=arm, error=want)
    row = dict(arm=arm, repeatable=want==again)
    def verdict(got): return 'same' if got==want else 'differs' if got and len(got)==64 else got
    want_plain = start(arm, python, tmp/'whole_plain', 0, dropout=0)
    assert start(arm, python, tmp/'plain', 0, 45, 0) is None
    got = start(arm, python, tmp/'plain', 0, dropout=0)
    row['plain'] = 'same' if got==want_plain else 'differs'
    for what in ('kill', 'workers', 'damaged'):
        folder = tmp/what
        folder.mkdir()
        assert start(arm, python, folder, 0, 45) is None
        if what=='damaged':
            path = newest(folder)
            path.write_bytes(path.read_bytes()[:path.stat().st_size//2])
            row['cut'] = path.name
        row[what] = verdict(start(arm, python, folder, 2 if what=='workers' else 0))
    if arm=='keras': row['workers'] = 'arrays: no workers'
    return row

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=list(arms))
    parser.add_argument('--peers', help='an interpreter with Lightning, Keras, transformers, torchdata')
    parser.add_argument('--composer', help='an interpreter with Composer')
    parser.add_argument('--save', action='store_true', help='write survive_peers.json')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        arm,folder,workers,die_after = json.loads(args.child)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return arms[arm](folder, workers, Dies(die_after))
    rows = []
    for arm in args.only:
        python = {'learner_scratch': sys.executable, 'by_hand': sys.executable, 'composer': args.composer}.get(arm, args.peers)
        if python is None: continue
        names = dict(torchdata=['torchdata'], lightning=['lightning', 'torchdata'], keras=['keras'], trainer=['transformers'], composer=['mosaicml'])
        code = f'from importlib.metadata import version; print(*[k+" "+version(k) for k in {["torch", *names.get(arm, [])]}], sep=", ")'
        with TemporaryDirectory() as tmp: row = look(arm, python, Path(tmp))
        rows.append(row | dict(versions=subprocess.run([python, '-c', code], capture_output=True, text=True).stdout.strip()))
        print(rows[-1], flush=True)
    from machine import facts
    if args.save: here.with_suffix('.json').write_text(json.dumps(dict(rows=rows, machine=facts()), indent=1)+'\n')

if __name__=='__main__': main()
