"""The board: what recipes reach on Imagenette at 64 pixels, in how many reference steps, from the rows of ladder.json and of others.

    python benchmarks/board.py                          # writes benchmarks/board.md
    python benchmarks/board.py --check best --seed 3    # runs one seed of an entry again, and compares

To enter, add your rows to benchmarks/entries/NAME.json, in the form of ladder.json's, with "who". The rules are in board.md."""
import argparse, json, statistics
from pathlib import Path

here = Path(__file__).resolve()
rules = '''# The board

Validation accuracy on Imagenette (160 px edition, resized to 64) over time. Time is in *reference steps* (`benchmarks/reference.py`): the median time of a
plain PyTorch training step of one fixed network, measured before and after each run on the same machine.

Rules:

1. Tuning saw only training pictures (hold some out); the validation set judged once, at the end.
2. At least eight seeds, all of them reported: mean ± standard deviation, and the least.
3. The time is all in: starting workers, reading and decoding the pictures, validation after each epoch.
4. No test-time augmentation; the mirrored column is for information.
5. No data and no weights from elsewhere.
6. Rows name machine, commit, torch and who. `python benchmarks/board.py --check RECIPE --seed N` repeats one seed: it must come within two standard deviations.

Made by `python benchmarks/board.py`; entries with fewer than eight seeds stand below the line.

| recipe | accuracy, % | least | mirrored, % | reference steps | seconds | seeds | who | commit | torch |
|---|---|---|---|---|---|---|---|---|---|
'''

def rows():
    found = json.loads((here.parent/'ladder.json').read_text())['rows']
    for o in sorted((here.parent/'entries').glob('*.json')): found += json.loads(o.read_text())['rows']
    return found

def line(recipe, some):
    quiet = [o for o in some if o['threads']==2 and 'reference_steps' in o]
    accs = [100*o['valid_accuracy'] for o in some]
    mirrored = [100*o['tta_accuracy'] for o in some if 'tta_accuracy' in o]
    spread = f' ± {statistics.stdev(accs):.2f}' if accs[1:] else ''
    last = some[-1].get('machine', {})
    def mean(values, form='.0f'): return format(statistics.mean(values), form) if values else ''
    cells = [recipe, f'{statistics.mean(accs):.2f}{spread}', f'{min(accs):.1f}', mean(mirrored, '.2f'), mean([o['reference_steps'] for o in quiet]),
             mean([o['seconds'] for o in quiet]), str(len({o['seed'] for o in some})), some[-1].get('who', 'learner_scratch'), last.get('commit', '')[:7], last.get('torch', '')]
    return statistics.mean(accs), '| ' + ' | '.join(cells) + ' |'

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', metavar='RECIPE')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    by_recipe = {}
    for o in rows():
        if 'reference_steps' in o: by_recipe.setdefault((o['recipe'], o.get('who')), []).append(o)
    if args.check:
        from ladder import train
        known = [100*o['valid_accuracy'] for (k,_),some in by_recipe.items() if k==args.check for o in some]
        now = 100*train(args.check, args.seed, args.threads)['valid_accuracy']
        mean,sd = statistics.mean(known),statistics.stdev(known) if known[1:] else 1.
        print(f'{args.check}, seed {args.seed}: {now:.1f} % now, {mean:.2f} ± {sd:.2f} on the board')
        raise SystemExit(abs(now-mean)>2*sd)
    lines = [(len({o["seed"] for o in some})>=8, *line(k, some)) for (k,_),some in by_recipe.items()]
    whole = [text for full,_,text in sorted(lines, reverse=True) if full]
    part = [text for full,_,text in sorted(lines, reverse=True) if not full]
    between = '| *fewer than eight seeds* |' + ' |'*9
    (here.parent/'board.md').write_text(rules + '\n'.join([*whole, between, *part]) + '\n')
    print(f'{here.parent/"board.md"}: {len(whole)} entries, {len(part)} below the line')

if __name__=='__main__': main()
