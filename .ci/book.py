"""The book in one piece: EPUB, PDF, text, and llms.txt, from the notebooks.

    python .ci/book.py                  # into _book; needs pypandoc_binary, and chromium for the PDF

Pages come in the sidebar's order. Hidden cells and directives are left out, links between pages lead within the book, figures are those saved."""
import argparse, base64, json, os, re, shutil, subprocess, sys
from pathlib import Path

here = Path(__file__).resolve().parents[1]
site = 'https://learner-scratch.github.io/learner_scratch'

def order():
    "Pages in the sidebar's order"
    return list(dict.fromkeys(re.findall(r'[\w/]+\.ipynb', (here/'nbs/sidebar.yml').read_text())))

def label(page, anchor=''):
    name = page.removesuffix('.ipynb').replace('/', '-')
    return f'{name}-{anchor}' if anchor else f'page-{name}'

def relinked(text, page):
    "Links to pages as links within the book"
    def link(m):
        target,_,anchor = m[1].partition('#')
        full = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
        return f'](#{label(full, anchor)})'
    text = re.sub(r'\]\(((?:[\w./-]+\.ipynb)?(?:#[\w-]+)?)\)', lambda m: link(m) if m[1] else m[0], text)
    return re.sub(r'\{#([\w-]+)', lambda m: '{#'+label(page, m[1]), text)

def output(o, folder, name):
    "An output as markdown"
    data = o.get('data', {})
    if o['output_type']=='stream': return f'```\n{"".join(o["text"]).rstrip()}\n```'
    if 'image/png' in data:
        path = folder/f'{name}.png'
        path.write_bytes(base64.b64decode(data['image/png']))
        return f'![]({path})'
    if 'text/markdown' in data: return ''.join(data['text/markdown'])
    if 'text/plain' in data: return f'```\n{"".join(data["text/plain"]).rstrip()}\n```'
    return ''

def markdown(page, folder):
    "A page as pandoc's markdown"
    parts = []
    for i,c in enumerate(json.loads((here/'nbs'/page).read_text())['cells']):
        text = ''.join(c['source'])
        flags = set(re.findall(r'^#\| *([\w-]+)', text, re.M))
        if c['cell_type']=='markdown':
            text = relinked(text, page)
            text = re.sub(r'^# (.*)$', lambda m: f'# {m[1]} {{#{label(page)}}}', text, count=1, flags=re.M) if not parts else text
            parts.append(re.sub(r'!\[([^\]]*)\]\((?:\.\./)?(images/[^)]+)\)', lambda m: f'![{m[1]}]({here}/nbs/{m[2]})', text))
        elif c['cell_type']=='code' and not flags & {'hide', 'default_exp'}:
            caption = re.search(r'^#\| fig-cap: "(.*)"$', text, re.M)
            code = '\n'.join(l for l in text.splitlines() if not l.startswith('#|')).strip()
            if code and 'fig-cap' not in flags: parts.append(f'``` python\n{code}\n```')
            parts += [output(o, folder, f'{label(page)}-{i}-{k}') for k,o in enumerate(c['outputs'])]
            if caption: parts.append(f'*{caption[1]}*')
    return '\n\n'.join(o for o in parts if o)

css = '''body { font: 10.5pt/1.45 Georgia, serif; max-width: 46em; margin: auto } h1 { break-before: page }
pre { font: 8.5pt/1.35 monospace; background: #f5f5f5; padding: .5em; white-space: pre-wrap; overflow-wrap: anywhere }
code { font-size: 90%; overflow-wrap: anywhere } img { max-width: 100% } table { border-collapse: collapse; font-size: 80%; overflow-wrap: anywhere }
td, th { border-top: 1px solid #ccc; padding: .2em .5em; text-align: left } blockquote { font-style: italic }
.callout-note, .callout-tip, .callout-warning, .callout-important { border-left: 3px solid #888; padding-left: 1em; margin: 1em 0 }'''

def main():
    import pypandoc
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default=str(here/'_book'))
    parser.add_argument('--no-pdf', action='store_true')
    args = parser.parse_args()
    out = Path(args.out)
    figures = out/'figures'
    figures.mkdir(parents=True, exist_ok=True)
    pages = order()
    texts = {o: markdown(o, figures) for o in pages}
    whole = '\n\n'.join(texts.values())
    (out/'learner_scratch.md').write_text(whole)
    (out/'style.css').write_text(css)
    common = ['--standalone', '--toc', '--toc-depth=1', '--mathml', '--metadata', 'title=learner_scratch', '--metadata', 'lang=en', '--syntax-highlighting=tango']
    source,kind = str(out/'learner_scratch.md'),'markdown-raw_tex-tex_math_single_backslash'
    pypandoc.convert_file(source, 'epub3', format=kind, outputfile=str(out/'learner_scratch.epub'), extra_args=[*common, f'--css={out/"style.css"}'])
    pypandoc.convert_file(source, 'html5', format=kind, outputfile=str(out/'learner_scratch.html'), extra_args=[*common, f'--css={out/"style.css"}', '--embed-resources'])
    heads = [f'- [{re.search(r"^# (.*?)(?: {#.*)?$", t, re.M)[1]}]({site}/{o.removesuffix(".ipynb")}.html): {m[1] if (m := re.search(r"^> (.*)$", t, re.M)) else ""}'
             for o,t in texts.items() if re.search(r'^# ', t, re.M)]
    (out/'llms.txt').write_text(f'# learner_scratch\n\n> A deep-learning framework, built in a book: data, modules, losses, Learner, callbacks, schedules, from tensors up.\n\n'
        f'The whole text: {site}/llms-full.txt\n\n## Pages\n\n' + '\n'.join(heads) + '\n')
    (out/'llms-full.txt').write_text(re.sub(r'!\[[^\]]*\]\([^)]*\)\n*', '', whole))
    browser = next((o for o in ('chromium', 'chromium-browser', 'google-chrome') if shutil.which(o)), None)
    if browser and not args.no_pdf: subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', '--no-pdf-header-footer', f'--print-to-pdf={out/"learner_scratch.pdf"}',
                                                     f'file://{out.resolve()}/learner_scratch.html'], check=True, capture_output=True, timeout=600)
    shutil.rmtree(figures)
    for o in sorted(out.iterdir()): print(f'{o.name}: {o.stat().st_size/1e6:.1f} MB')

if __name__=='__main__': main()
