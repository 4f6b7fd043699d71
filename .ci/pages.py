"""Are the pages well-formed? Processes the notebooks as the docs build does, reads each page with pandoc as Quarto would, and looks at

- fences: every callout is closed and none is inside another; each question's holds its title and code,
- links: every internal one leads to a page and an anchor that exist, those from the front page included; none is inside another,
- images: every file exists, every figure was drawn, and each has alt text,
- directives: none of nbdev's is left, and Quarto's are options that it knows,
- the sidebar: it lists every page.

Needs `pypandoc_binary` and the package installed with its `dev` extra. Exits 1 with a line for each fault."""
import json, os, re, sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
import yaml
from nbdev.config import get_config
from nbdev.serve import proc_nbs
try: import pypandoc
except ImportError: sys.exit('this check needs pandoc: pip install -c constraints.txt pypandoc_binary')

options = {'label', 'fig-cap', 'fig-alt', 'code-fold', 'code-summary', 'output', 'echo', 'include'}
text = lambda o: ''.join(o or '')

def as_markdown(cells, fault):
    "One page's cells as the markdown that Quarto gives to pandoc; complains about code cells on the way"
    parts = []
    for c in cells:
        s = text(c.get('source'))
        if c['cell_type']=='markdown': parts.append(s)
        if c['cell_type']!='code' or not (s or c.get('outputs')): continue
        marks = re.findall(r'^\s*#\s*\|\s*(.*)$', s, flags=re.M)
        for o in marks:
            if o.split(':')[0] not in options or ':' not in o: fault(f'the directive {o!r} is left in a cell')
        opts = dict(re.findall(r'^#\|\s*([\w-]+):\s*(.*)$', s, flags=re.M))
        parts += [f"[]{{#{opts['label']}}}"] if 'label' in opts else []
        code = '\n'.join(l for l in s.splitlines() if not l.startswith('#|'))
        if 'fig-cap' in opts and not any('image/png' in o.get('data', {}) for o in c.get('outputs', [])):
            fault(f"{opts['label']} has no saved picture: execute the page")
        if code.strip() and opts.get('echo')!='false': parts.append(f'````python\n{code}\n````')
        for o in c.get('outputs', []):
            data = o.get('data', {})
            for need in ('fig-cap', 'fig-alt') if 'image/png' in data else ():
                if len(opts.get(need, '').strip('"'))<20: fault(f'a picture without {need}: {code[:60]!r}')
            if 'text/markdown' in data: parts.append(text(data['text/markdown']))
            elif out := text(o.get('text') or data.get('text/plain')):
                parts.append(f'````\n{out}\n````')
                if '#|' in out: fault(f'a directive in an output: {out[:60]!r}')
    return parts

def place(parts, line):
    "Which part the line of pandoc's complaint is in, by the part's first words"
    for s in parts:
        line -= s.count('\n')+2
        if line<=0: return s.strip().splitlines()[0][:80]

def nodes(o):
    "Every element of pandoc's tree, as kind and content"
    if isinstance(o, dict) and 't' in o: yield o['t'], o.get('c')
    for v in o.values() if isinstance(o, dict) else o if isinstance(o, list) else (): yield from nodes(v)

class Page:
    def __init__(self, path, root):
        self.faults,self.path,self.name = [],path,str(path.relative_to(root))
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        front = yaml.safe_load(text(cells[0]['source']).strip().strip('-')) if cells[0]['cell_type']=='raw' else {}
        self.html = str(Path(self.name).with_name(front.get('output-file') or f'{path.stem}.html'))
        parts = as_markdown([c for c in cells if c['cell_type']!='raw'], self.faults.append)
        md = '\n\n'.join(parts)
        try: tree = json.loads(pypandoc.convert_text(md, 'json', format='markdown', extra_args=['--fail-if-warnings']))
        except RuntimeError as e:
            warnings = re.findall(r'\[WARNING\] (.*?line (\d+).*)', str(e)) or [(str(e).strip(), 0)]
            self.faults += [f'pandoc: {w}; the first line is in the cell {place(parts, int(n))!r}' for w,n in warnings]
            tree = None
        self.parsed,tree = tree is not None,tree or {}
        self.nodes = list(nodes(tree.get('blocks', [])))
        self.links = [c[2][0] for t,c in self.nodes if t=='Link']
        self.images = [(c[1], c[2][0]) for t,c in self.nodes if t=='Image']
        attrs = {'Header': 1, 'Div': 0, 'Span': 0, 'Link': 0, 'Code': 0, 'CodeBlock': 0}
        self.ids = {c[attrs[t]][0] for t,c in self.nodes if t in attrs}
        self.fences()

    def fences(self):
        for t,c in self.nodes:
            if t=='Str' and (':::' in c or '#|' in c or '](' in c or c.startswith('{.')): self.faults.append(f'{c!r} is left in the text')
            if t!='Div' or not any(o.startswith('callout') for o in c[0][1]): continue
            inside = list(nodes(c[1]))
            if any(t=='Div' and any(o.startswith('callout') for o in c[0][1]) for t,c in inside):
                self.faults.append(f'the callout {c[0]} has another inside: is it closed?')
            if not re.fullmatch(r'q\d+', c[0][0]): continue
            if not any(t=='Header' for t,_ in inside[:1]): self.faults.append(f'{c[0][0]} has no title')
            if not any(t=='CodeBlock' for t,_ in inside): self.faults.append(f'{c[0][0]} has no code')

def main():
    cfg = get_config()
    root = proc_nbs(n_workers=0, force=True)
    site = f'{cfg.doc_host}{cfg.doc_baseurl}'.rstrip('/') + '/'
    pages = [Page(o, root) for o in sorted(root.rglob('*.ipynb'))]
    known = {p.html: p for p in pages} | {p.name: p for p in pages}
    for p in pages:
        for link in p.links:
            if link.startswith(site): link = '/' + (link[len(site):] or 'index.html')
            url = urlsplit(link)
            if url.scheme in ('http', 'https', 'mailto'): continue
            there = url.path.lstrip('/') if url.path.startswith('/') else os.path.normpath(os.path.join(os.path.dirname(p.name), url.path))
            to = p if not url.path else known.get(there)
            if to is None: p.faults.append(f'a link leads nowhere: {link}')
            elif to.parsed and url.fragment and unquote(url.fragment) not in to.ids: p.faults.append(f'a link has no anchor there: {link}')
        for alt,src in p.images:
            if not alt: p.faults.append(f'a picture without alt text: {src}')
            if not urlsplit(src).scheme and not (p.path.parent/src).is_file(): p.faults.append(f'a picture is missing: {src}')
    listed = set(re.findall(r'[\w/]+\.ipynb', (root/'sidebar.yml').read_text()))
    faults = [f'{p.name}: {o}' for p in pages for o in p.faults]
    faults += [f'the sidebar misses {o}' for o in sorted({p.name for p in pages}-listed)]
    faults += [f'the sidebar lists {o}, which does not exist' for o in sorted(listed-{p.name for p in pages})]
    questions = {o for p in pages for o in p.ids if re.fullmatch(r'q\d+', o)}
    if all(p.parsed for p in pages) and len(questions)!=34: faults.append(f'{len(questions)} of 34 questions have an anchor')
    print('\n'.join(faults) or f'{len(pages)} pages, {sum(len(p.links) for p in pages)} links, {len(questions)} questions: all well-formed')
    sys.exit(bool(faults))

if __name__=='__main__': main()
