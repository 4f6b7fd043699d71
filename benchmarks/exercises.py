"""Are the exercises' tests good enough? Each blank must fail, each solution pass, and mutants of the solution fail.

    python benchmarks/exercises.py --save               # all, up to 24 mutants each; about ten minutes; writes exercises.json
    python benchmarks/exercises.py --mutants 1          # as .ci/run has it: blanks and solutions, and one mutant each

A mutant is the solution with one slip: another operator, comparison, constant or word, a line or a decorator that is missing."""
import argparse, json, os, sys, time
from pathlib import Path

here = Path(__file__).resolve()

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pages', nargs='*')
    parser.add_argument('--mutants', type=int, default=24)
    parser.add_argument('--save', action='store_true', help='write exercises.json; pages that were not run keep their rows')
    args = parser.parse_args()
    os.environ.update(NO_BAR='1', MPLBACKEND='Agg', OMP_NUM_THREADS='1')
    os.chdir(here.parents[1])
    import torch
    torch.set_num_threads(1)
    from learner_scratch.exercises import blank, mutants, on_page, pages, try_answer
    rows,bad = [],[]
    def attack(exercise, space, cells, places):
        def passes(answer): return try_answer(space, answer, cells, places)
        start,name = time.time(),', '.join(exercise.names)
        right = passes(exercise.source)
        if not right.passed: bad.append(f'{exercise.page}: the solution of {name} fails: {right.why[:200]} in cell {right.cell}')
        if passes(blank(exercise.source)).passed: bad.append(f'{exercise.page}: the blank of {name} passes')
        tried = mutants(exercise.source, args.mutants)
        alive = [said for said,s in tried if passes(s).passed]
        rows.append(dict(page=exercise.page, names=name, level=exercise.level, mutants=len(tried), killed=len(tried)-len(alive), survivors=alive))
        print(f'{exercise.page} {name[:50]:50} {len(tried)-len(alive):3} of {len(tried):3}  {time.time()-start:5.1f} s  {"; ".join(alive)[:120]}', flush=True)
    for page in args.pages or pages: on_page(page, attack)
    n,killed = sum(o['mutants'] for o in rows),sum(o['killed'] for o in rows)
    print(f'{len(rows)} exercises, {killed} of {n} mutants killed')
    for o in bad: print(o)
    if args.save:
        from machine import facts
        path = here.with_suffix('.json')
        kept = [o for o in json.loads(path.read_text())['rows'] if o['page'] not in (args.pages or pages)] if path.exists() else []
        rows = sorted(kept+rows, key=lambda o: o['page'])
        path.write_text(json.dumps(dict(rows=rows, machine=facts()), indent=1)+'\n')
    raise SystemExit(bool(bad))

if __name__=='__main__': main()
