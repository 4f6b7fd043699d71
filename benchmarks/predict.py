"""How fast a folder of pictures is named: `scratch_predict` against a plain PyTorch script, with the same network.

    python benchmarks/predict.py [--rounds 5] [--out benchmarks/predict.json]

Both are whole commands in processes of their own, with two workers, on all 13,394 pictures of Imagenette (160 pixels,
read at 64). They take turns; a ratio is taken round by round. The time
for a single picture is measured too: what is left after it is the rate of a large folder. fastai's `test_dl` and `get_preds` is a third arm where
fastai can be imported: it needs a torchvision that fits the PyTorch, as in `pip install torch==2.14.1 torchvision==0.29.1 fastai`.
Run it on an idle machine."""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time
from pathlib import Path

plain = '''
import sys, csv, torch, numpy as np
from pathlib import Path
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from learner_scratch.use.export import load_learner
from learner_scratch.use.to_torch import to_torch

class Pictures(Dataset):
    def __init__(self, files): self.files = files
    def __len__(self): return len(self.files)
    def __getitem__(self, i):
        im = Image.open(self.files[i]).convert('RGB').resize((64, 64), Image.BICUBIC)
        x = torch.from_numpy(np.array(im)).permute(2, 0, 1)/255
        return (x-.5)/.25

if __name__=='__main__':
    learn = load_learner(sys.argv[1], 'cpu')
    net,vocab = to_torch(learn.model).eval(),learn.dls.vocab
    files = sorted(Path(sys.argv[2]).rglob('*.JPEG'))
    out = csv.writer(sys.stdout)
    with torch.no_grad():
        k = 0
        for x in DataLoader(Pictures(files), 256, num_workers=2):
            p,i = net(x).softmax(-1).max(-1)
            for q,j in zip(p.tolist(), i.tolist()): out.writerow([files[k], vocab[j], q]); k += 1
'''

fastai = '''
import sys, torch
from fastai.vision.all import *
from learner_scratch.use.export import load_learner
from learner_scratch.use.to_torch import to_torch
if __name__=='__main__':
    ours = load_learner(sys.argv[1], 'cpu')
    files = get_image_files(sys.argv[2])
    dls = ImageDataLoaders.from_path_func('.', files, lambda o: o.parent.name, valid_pct=.5, seed=1, item_tfms=Resize(64, method='squish'),
                                          batch_tfms=Normalize.from_stats([.5]*3, [.25]*3), bs=256, num_workers=2)
    learn = Learner(dls, to_torch(ours.model), loss_func=CrossEntropyLossFlat())
    with learn.no_bar(): preds,_ = learn.get_preds(dl=dls.test_dl(files, num_workers=2, bs=256))
    for f,i,p in zip(files, preds.argmax(-1).tolist(), preds.amax(-1).tolist()): print(f, ours.dls.vocab[i], p, sep=',')
'''

def make_model(path):
    from learner_scratch.all import (DataLoaders, ImageInput, Learner, SetupLearnerCB, URLs, cross_entropy, set_seed,
                                     untar_data)
    from learner_scratch.research.ladder import norm_cnn
    set_seed(42)
    data = untar_data(URLs.IMAGENETTE_160)
    dls = DataLoaders.from_folder(data, size=64, bs=128, n_workers=2)
    learn = Learner(norm_cnn(), dls, cross_entropy, cbs=SetupLearnerCB(ImageInput(([.5]*3, [.25]*3)), 'cpu'))
    learn.export(path)
    dls.close()
    return data

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as tmp:
        here = Path(tmp)
        folder = make_model(here/'model.safetensors')
        (here/'plain.py').write_text(plain); (here/'with_fastai.py').write_text(fastai)
        command = Path(sys.executable).with_name('scratch_predict')
        (here/'one').mkdir()
        (here/'one'/'x.JPEG').write_bytes(next(folder.rglob('*.JPEG')).read_bytes())
        def commands(folder):
            return {'scratch_predict': [command, here/'model.safetensors', folder, '--csv', '--workers', '2'],
                    'plain PyTorch': [sys.executable, here/'plain.py', here/'model.safetensors', folder],
                    'fastai': [sys.executable, here/'with_fastai.py', here/'model.safetensors', folder]}
        arms,of_one = commands(folder),commands(here/'one')
        n,seconds,starts,left_out = len(list(folder.rglob('*.JPEG'))),{},{},{}
        for k in list(arms):
            done = subprocess.run(arms[k], capture_output=True, text=True, cwd=here)
            if done.returncode: left_out[k] = done.stderr.strip().splitlines()[-1]; arms.pop(k); print(f'{k} is left out: {left_out[k]}')
            else: assert done.stdout.count('.JPEG,')==n, (k, done.stdout.count('.JPEG,'), n); seconds[k],starts[k] = [],[]
        for _ in range(args.rounds):
            for k,a in arms.items():
                start = time.perf_counter()
                subprocess.run(a, capture_output=True, check=True, cwd=here)
                seconds[k].append(time.perf_counter()-start)
                start = time.perf_counter()
                subprocess.run(of_one[k], capture_output=True, check=True, cwd=here)
                starts[k].append(time.perf_counter()-start)
    mid = statistics.median
    ours = seconds['scratch_predict']
    def rate(k): return n/(mid(seconds[k])-mid(starts[k]))
    res = dict(pictures=n, size=64, workers=2, rounds=args.rounds, left_out=left_out, arms={
        k: dict(seconds=[round(o, 3) for o in v], seconds_for_one_picture=round(mid(starts[k]), 2),
                pictures_per_second=round(n/mid(v)), pictures_per_second_after_the_start=round(rate(k)),
                ours_is_faster_by=round(mid(b/a for a,b in zip(ours, v)), 2),
                ours_is_faster_after_the_start_by=round(rate('scratch_predict')/rate(k), 2)) for k,v in seconds.items()})
    import torch
    res['machine'] = dict(cores=os.cpu_count(), system=platform.platform(), torch=torch.__version__,
                          load_at_start=round(load, 2), date=time.strftime('%Y-%m-%d'))
    args.out.write_text(json.dumps(res, indent=1)+'\n')
    print(json.dumps(res, indent=1))

if __name__=='__main__': main()
