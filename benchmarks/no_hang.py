"""Three epochs with two workers after heavy torch operations in the parent: by each start method, in a script and in a notebook, ten times each.

    python benchmarks/no_hang.py [times]

Each run has two minutes; one that takes longer counts as a hang. The data set is defined in the script or the notebook itself."""
import multiprocessing as mp, subprocess, sys, tempfile, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient

body = '''
from learner_scratch.all import *

class Mine(Dataset):
    "Known to this file alone"
    def __getitem__(self, i): return super().__getitem__(i)

def main():
    a = torch.randn(1500, 1500)
    for _ in range(5): a = (a@a).tanh()                      # the parent's teams of threads are up
    torch.ones(10**7).add(1).sum()
    path = untar_data(URLs.DIGITETTE)
    files = get_image_files(path, folders=['val'])
    v2i = files.map(~Self.parent.name).unique().val2idx()
    dls = DataLoaders(*(DataLoader(Mine(files, v2i), bs=64, shuffle=True, n_workers=2, start_method=METHOD) for _ in range(2)))
    track = TrackResults()
    Learner(simple_cnn(), dls, cross_entropy, cbs=[SetupLearnerCB(lambda x: channels_first(to_float(x))), track]).fit(3)
    assert len(track.history)==3
'''

def script(method, folder):
    path = folder/'fit.py'
    path.write_text(f'METHOD = {method!r}\n{body}\nif __name__=="__main__": main()\n')
    subprocess.run([sys.executable, path], check=True, timeout=120, capture_output=True)

def notebook(method, folder):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(o) for o in (f'METHOD = {method!r}', body, 'main()')])
    NotebookClient(nb, timeout=120, kernel_name='python3', resources={'metadata': {'path': str(folder)}}).execute()

def main():
    times = int(sys.argv[1]) if len(sys.argv)>1 else 10
    failed = 0
    for method in mp.get_all_start_methods():
        for how in (script, notebook):
            took = []
            for _ in range(times):
                start = time.perf_counter()
                with tempfile.TemporaryDirectory() as folder:
                    try: how(method, Path(folder))
                    except Exception as e: failed += 1; print(f'{type(e).__name__}: {str(e)[-500:]}')
                took.append(time.perf_counter()-start)
            print(f'{how.__name__:9} {method:11} {times} runs, {failed} failed so far, {min(took):.1f} to {max(took):.1f} s each', flush=True)
    print(f'{6*times - failed if times else 0} passed, {failed} failed')
    sys.exit(bool(failed))

if __name__=='__main__': main()
