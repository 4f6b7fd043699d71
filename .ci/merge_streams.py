"""Join the pieces of text that a cell printed into one output, in the notebooks named: executing a notebook saves a piece for each flush.

    python .ci/merge_streams.py nbs/04_callbacks.ipynb …          (with --check: say where it would, and exit 1)"""
import json, sys
from pathlib import Path

def merge(outputs):
    res = []
    for o in outputs:
        if res and o['output_type']=='stream' and res[-1].get('name')==o['name']: res[-1]['text'] += o['text']
        else: res.append(o)
    return res

def main(check, *paths):
    bad = 0
    for p in map(Path, paths):
        nb = json.loads(p.read_text(encoding='utf-8'))
        for c in nb['cells']:
            if c['cell_type']!='code': continue
            merged = merge([dict(o) for o in c['outputs']])
            if len(merged)!=len(c['outputs']): bad += 1; print(f"{p}: cell {c['id']}: {len(c['outputs'])} pieces of output")
            c['outputs'] = merged
        if not check: p.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf-8')
    return bool(bad and check)

if __name__=='__main__':
    args = sys.argv[1:]
    sys.exit(main('--check' in args, *(o for o in args if o!='--check')))
