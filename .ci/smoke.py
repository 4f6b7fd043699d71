"The installed wheel, used as the chapter uses it. Run outside the repository, with whatever fastcore is the newest."
import contextlib, io
from learner_scratch.all import *
import fastcore

def main():
    path = untar_data(URLs.DIGITETTE)
    files = L(glob(f'{path}/**/*.JPEG', recursive=True)).map(Path)
    lbls = files.map(~Self.parent.name).unique()
    v2i = lbls.val2idx()
    train_filt = L(o.parent.parent.name=='train' for o in files)
    train,valid = files[train_filt],files[~train_filt]
    train_ds,valid_ds = Dataset(train, v2i),Dataset(valid, v2i)
    n_workers = min(2, defaults.cpus)
    train_dl = DataLoader(train_ds, bs=128, shuffle=True, n_workers=n_workers)
    valid_dl = DataLoader(valid_ds, bs=256, shuffle=False, n_workers=n_workers)
    xb,yb = first(train_dl)
    stats = [xb.mean((0,1,2)), xb.std((0,1,2))]
    norm = Normalize(stats)
    def tfm_x(x): return norm(x).permute((0,3,1,2))
    dls = DataLoaders(train_dl, valid_dl)
    cbs = [SetupLearnerCB(tfm_x), TrackResults()]
    learn = Learner(simple_cnn(), dls, cross_entropy, lr=0.1, cbs=cbs)
    learn.fit(1)
    lrfind = LRFinder()
    learn = Learner(simple_cnn(), dls, cross_entropy, lr=0.1, cbs=cbs+[lrfind])
    learn.fit(2)
    assert len(lrfind.lrs)==len(lrfind.losses)>10
    onecyc = OneCycle(0.1)
    learn = Learner(simple_cnn(), dls, cross_entropy, lr=0.1, cbs=cbs+[onecyc])
    learn.fit(1)
    assert len(onecyc.lrs)==len(train_dl)
    dls.close()
    block = DataBlock(splitter=FuncSplitter(lambda o: o.parent.parent.name=='val'), batch_tfms=[RandomResizedCrop(64, .5), Flip()])
    dls = block.dataloaders(path, train_size=80, n_workers=n_workers, cache=True)
    for epoch in range(2): assert sum(len(yb) for xb,yb in dls.train)==2000
    assert first(dls.train)[0].shape==(128, 64, 64, 3)
    dls.close()
    print('fastcore', fastcore.__version__, 'torch', torch.__version__, 'is fine')

if __name__=='__main__': main()
