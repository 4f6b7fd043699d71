"""Are the pages well-formed? Prints a line for each fault, with page and cell, and exits 1 if there is one.

    python .ci/pages.py                        everything: needs `pypandoc_binary` and the package with its `dev` extra
    python .ci/pages.py nbs/02_loss.ipynb …    only the first half, of these notebooks: needs nothing

The first half reads the notebooks and looks for what the site would show badly:

- exported code: public functions without a docstring, backticks behind a parameter (nbdev makes links of them), a private
  helper whose source is shown,
- lines longer than the page: more than 88 characters where code is shown, 100 in cells that only export, 88 in outputs,
- figures: a cell that draws one returns and prints nothing else,
- headings: none takes the anchor of a function or class that is documented on its page,
- outputs: no path of somebody's machine, memory address, stderr, remains of a progress bar, or error.

The second half processes the notebooks as the docs build does, reads each page with pandoc as Quarto would, and looks at

- fences: every callout is closed and none is inside another; each question's holds its title and code,
- links: every internal one leads to a page and an anchor that exist, those from the front page included; none is inside another,
- images: every file exists, every figure was drawn, and each has alt text,
- directives: none of nbdev's is left, and Quarto's are options that it knows,
- the sidebar: it lists every page.

Cells are counted from 0, as `jq .cells[17]` does."""
import ast, io, json, os, re, sys, tokenize
from pathlib import Path
from urllib.parse import unquote, urlsplit

options = {'exercise', 'label', 'fig-cap', 'fig-alt', 'tbl-cap', 'code-fold', 'code-summary', 'output', 'echo', 'include', 'eval'}
events = 'before_', 'after_', 'around_'   # A callback's method is documented where the event is
text = lambda o: ''.join(o or '')

# The notebooks, as written

class Code:
    "A code cell: its directives, its lines without them, and what it defines"
    def __init__(self, cell):
        self.source,self.outputs = text(cell['source']),cell.get('outputs', [])
        marks = dict(re.findall(r'^\s*#\s*\|\s*([^\s:]+):?[ \t]*(.*?)[ \t]*$', self.source, flags=re.M))
        self.marks,self.exports = marks,bool(marks.keys() & {'export', 'exports', 'exporti'})
        self.hidden = bool(marks.keys() & {'hide', 'default_exp'}) or marks.get('include')=='false'
        self.shown = not self.hidden and (not self.exports or 'exports' in marks)
        self.lines = [o for o in self.source.splitlines() if o.strip() and not re.match(r'\s*#\s*\|', o)]
        self.code = '\n'.join(self.lines)
        try: self.body = ast.parse(self.code).body
        except SyntaxError: self.body = []     # A magic command
        self.defs = [o for o in self.body if isinstance(o, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]

def is_func(o): return isinstance(o, (ast.FunctionDef, ast.AsyncFunctionDef))

def patched(func):
    "The classes whose method this function becomes"
    if not any('patch' in ast.unparse(o) for o in func.decorator_list): return []
    arg = next(iter(func.args.posonlyargs+func.args.args), None)
    return re.findall(r'\w+', ast.unparse(arg.annotation)) if arg and arg.annotation else []

def names(o):
    "The names under which the site documents a definition"
    return is_func(o) and [f'{c}.{o.name}' for c in patched(o)] or [o.name]

def methods(cell):
    "Public functions, and public methods of public classes, with their names"
    for o in cell.defs:
        if is_func(o): yield o, names(o)[0]
        elif not o.name.startswith('_'): yield from ((m, f'{o.name}.{m.name}') for m in o.body if is_func(m))

def docstrings(cell):
    for f,name in methods(cell) if cell.exports and not cell.hidden else ():
        if not f.name.startswith(('_', *events)) and not ast.get_docstring(f): yield f'{name} has no docstring'

def docments(cell):
    "Comments behind parameters and the returned value"
    if not cell.exports or cell.hidden: return
    funcs = [o for d in cell.body for o in ast.walk(d) if is_func(o)]
    signature = {n for f in funcs for n in range(f.lineno, max(f.lineno+1, f.body[0].lineno))}
    comments = [o for o in tokenize.generate_tokens(io.StringIO(cell.code).readline) if o.type==tokenize.COMMENT] if cell.body else []
    for o in comments:
        behind = o.line[:o.start[1]].rstrip()
        if '`' in o.string and behind and (o.start[0] in signature or behind.endswith(',')): yield f'backticks behind a parameter: {o.string}'

def private(cell):
    if 'exports' in cell.marks and not cell.hidden and cell.defs and all(re.match('_(?!_)', o.name) for o in cell.defs):
        yield f'a private helper is shown as a lesson: {cell.defs[0].name}'

def long_lines(cell):
    most = 88 if cell.shown else 100
    for o in cell.lines if not cell.hidden else ():
        if len(o)>most: yield f'a line of {len(o)} characters, {most} fit: {o.strip()[:60]}'

def figure(cell):
    if not cell.shown or not (cell.marks.get('label', '').startswith('fig-') or 'fig-cap' in cell.marks): return
    kinds = ['picture' if any(k.startswith('image/') for k in o.get('data', {})) else o['output_type'] for o in cell.outputs]
    if len(kinds)>1 or kinds and kinds!=['picture']: yield f'a figure with other outputs: {", ".join(kinds)}'
    if cell.body and isinstance(cell.body[-1], ast.Expr) and not cell.code.rstrip().endswith(';'):
        yield f'a figure that ends without `;`: {cell.lines[-1].strip()[:60]}'

def printed(o):
    "The text of an output that the page shows as text"
    data = o.get('data', {})
    if o['output_type']=='stream': return text(o['text'])
    return '' if any(k in ('text/html', 'text/markdown') or k.startswith('image/') for k in data) else text(data.get('text/plain'))

def wide(cell):
    if cell.hidden or cell.exports or cell.marks.get('output')=='false': return
    for o in cell.outputs:
        lines = [l.rstrip() for l in printed(o).splitlines()]
        too_long = [l for l in lines if len(l)>88]
        columns = [l for l in too_long if len(re.findall(r'\S {2,}(?=\S)|\S\t', l))>1]
        if len(columns)>2: yield f'a printed table of {max(map(len, columns))} characters, 88 fit: {columns[0].strip()[:50]}'
        elif too_long: yield f'an output of {max(map(len, too_long))} characters in a line, 88 fit: {too_long[0].strip()[:50]}'

debris = {
    'an absolute path': r'(?<![\w./:~-])/(?:tmp|root|home|Users|work|usr|opt|var|private|mnt|content)/[\w.]|\b[A-Z]:\\\w',
    'a memory address': r'\b0x[0-9a-fA-F]{6,}\b',
    'remains of a progress bar': r'█|\r(?!\n)|\d%\||<progress|\x1b\['}

def outputs(cell):
    for o in cell.outputs:
        if o['output_type']=='error': yield f"an error in the output: {o.get('ename')}"
        if o.get('name')=='stderr': yield f"stderr in the output: {text(o['text']).strip()[:60]}"
        data = text(o.get('text'))+'\n'.join(text(v) for k,v in o.get('data', {}).items() if k.startswith('text/'))
        data = re.sub(r'data:[\w/+.-]+;base64,[\w/+=\s]+', '', data)
        for what,pattern in debris.items():
            if m := re.search(pattern, data): yield f'{what} in the output: {data[max(m.start()-10, 0):m.end()+30]!r}'

def slug(heading):
    "The anchor that pandoc gives to a heading"
    if m := re.search(r'\{[^}]*#([\w.-]+)[^}]*\}\s*$', heading): return m[1]
    s = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', re.sub(r'\{[^}]*\}\s*$', '', heading)).strip()
    return re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', s.lower())))

def headings(cells):
    "Headings that take the anchor of what their page documents, with the numbers of their cells"
    codes = [Code(c) for c in cells if c['cell_type']=='code']
    documented = {n.lower(): n for c in codes if c.exports and not c.hidden for o in c.defs if not o.name.startswith('_') for n in names(o)}
    for i,c in enumerate(cells):
        md = re.sub(r'^(```+|~~~+).*?^\1', '', text(c['source']), flags=re.M|re.S) if c['cell_type']=='markdown' else ''
        for h in re.findall(r'^#{2,6}[ \t]+(.*)$', md, flags=re.M):
            if slug(h) in documented: yield i, f'the heading {h.strip()!r} takes the anchor of {documented[slug(h)]}'

checks = docstrings, docments, private, long_lines, figure, wide, outputs

def read_notebook(path, name):
    "Faults of one notebook"
    cells = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    found = [(i, o) for i,c in enumerate(cells) if c['cell_type']=='code' for check in checks for o in check(Code(c))]
    return [f'{name} [{i}]: {o}' for i,o in sorted([*found, *headings(cells)], key=lambda o: o[0])]

# The pages, as built

def as_markdown(cells, fault):
    "One page's cells as the markdown that Quarto gives to pandoc, with their ids; complains about code cells on the way"
    for c in cells:
        s,cid = text(c.get('source')),c.get('id')
        if c['cell_type']=='markdown': yield cid, s
        if c['cell_type']!='code' or not (s or c.get('outputs')): continue
        marks = re.findall(r'^\s*#\s*\|\s*(.*)$', s, flags=re.M)
        for o in marks:
            if o.split(':')[0] not in options or ':' not in o: fault(f'the directive {o!r} is left', cid)
        opts = dict(re.findall(r'^#\|\s*([\w-]+):\s*(.*)$', s, flags=re.M))
        if 'label' in opts: yield cid, f"[]{{#{opts['label']}}}"
        code = '\n'.join(l for l in s.splitlines() if not l.startswith('#|'))
        if 'fig-cap' in opts and not any('image/png' in o.get('data', {}) for o in c.get('outputs', [])):
            fault(f"{opts.get('label')} has no saved picture: execute the page", cid)
        if code.strip() and opts.get('echo')!='false': yield cid, f'````python\n{code}\n````'
        for o in c.get('outputs', []):
            data = o.get('data', {})
            for need in ('fig-cap', 'fig-alt') if 'image/png' in data else ():
                if len(opts.get(need, '').strip('"'))<20: fault(f'a picture without {need}: {code[:60]!r}', cid)
            if 'text/markdown' in data: yield cid, text(data['text/markdown'])
            elif out := text(o.get('text') or data.get('text/plain')):
                yield cid, f'````\n{out}\n````'
                if '#|' in out: fault(f'a directive in an output: {out[:60]!r}', cid)

def place(parts, line):
    "Which part the line of pandoc's complaint is in"
    for cid,s in parts:
        line -= s.count('\n')+2
        if line<=0: return cid,s.strip().splitlines()[0][:80]
    return None,''

def nodes(o):
    "Every element of pandoc's tree, as kind and content"
    if isinstance(o, dict) and 't' in o: yield o['t'], o.get('c')
    for v in o.values() if isinstance(o, dict) else o if isinstance(o, list) else (): yield from nodes(v)

class Page:
    def __init__(self, path, root, source):
        import pypandoc, yaml
        self.faults,self.path,self.name = [],path,path.relative_to(root).as_posix()
        written = json.loads((source/self.name).read_text(encoding='utf-8'))['cells']
        self.numbers = {c['id']: i for i,c in enumerate(written) if 'id' in c}
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        front = yaml.safe_load(text(cells[0]['source']).strip().strip('-')) if cells[0]['cell_type']=='raw' else {}
        self.html = Path(self.name).with_name(front.get('output-file') or f'{path.stem}.html').as_posix()
        parts = list(as_markdown([c for c in cells if c['cell_type']!='raw'], self.fault))
        md = '\n\n'.join(s for _,s in parts)
        try: tree = json.loads(pypandoc.convert_text(md, 'json', format='markdown', extra_args=['--fail-if-warnings']))
        except RuntimeError as e:
            warnings = re.findall(r'\[WARNING\] (.*?line (\d+).*)', str(e)) or [(str(e).strip(), 0)]
            for w,n in warnings:
                cid,first = place(parts, int(n))
                self.fault(f'pandoc: {w}; it begins with {first!r}', cid)
            tree = None
        self.parsed,tree = tree is not None,tree or {}
        self.nodes = list(nodes(tree.get('blocks', [])))
        self.links = [c[2][0] for t,c in self.nodes if t=='Link']
        self.images = [(c[1], c[2][0]) for t,c in self.nodes if t=='Image']
        attrs = {'Header': 1, 'Div': 0, 'Span': 0, 'Link': 0, 'Code': 0, 'CodeBlock': 0}
        self.ids = {c[attrs[t]][0] for t,c in self.nodes if t in attrs}
        self.parts = parts
        self.fences()

    def fault(self, what, cid=None, words=None):
        "Note a fault in the cell of this id, or in the first that holds these words"
        if cid is None and words: cid = next((i for i,s in self.parts if words in s), None)
        n = self.numbers.get(cid)
        self.faults.append(f'{self.name}: {what}' if n is None else f'{self.name} [{n}]: {what}')

    def fences(self):
        for t,c in self.nodes:
            if t=='Str' and (':::' in c or '#|' in c or '](' in c or c.startswith('{.')): self.fault(f'{c!r} is left in the text', words=c)
            if t!='Div' or not any(o.startswith('callout') for o in c[0][1]): continue
            inside,name = list(nodes(c[1])),c[0][0] or c[0][1][0]
            if any(t=='Div' and any(o.startswith('callout') for o in c[0][1]) for t,c in inside):
                self.fault(f'the callout {name} has another inside: is it closed?', words=name)
            if not re.fullmatch(r'q\d+', name): continue
            if not any(t=='Header' for t,_ in inside[:1]): self.fault(f'{name} has no title', words=f'#{name} ')
            if not any(t=='CodeBlock' for t,_ in inside): self.fault(f'{name} has no code', words=f'#{name} ')

    def check_links(self, known, site):
        for link in self.links:
            said = link
            if link.startswith(site): link = '/' + (link[len(site):] or 'index.html')
            url = urlsplit(link)
            if url.scheme in ('http', 'https', 'mailto'): continue
            there = url.path.lstrip('/') if url.path.startswith('/') else os.path.normpath(os.path.join(os.path.dirname(self.name), url.path))
            to = self if not url.path else known.get(there.replace(os.sep, '/'))
            if there in ('learner_scratch.pdf', 'learner_scratch.epub'): continue     # from .ci/book.py
            if to is None: self.fault(f'a link leads nowhere: {said}', words=said)
            elif to.parsed and url.fragment and unquote(url.fragment) not in to.ids: self.fault(f'a link has no anchor there: {said}', words=said)

    def check_images(self):
        for alt,src in self.images:
            if not alt: self.fault(f'a picture without alt text: {src}', words=src)
            if not urlsplit(src).scheme and not (self.path.parent/src).is_file(): self.fault(f'a picture is missing: {src}', words=src)

def read_site(cfg):
    "Faults of the processed pages, and a summary"
    from nbdev.serve import proc_nbs
    try: root = proc_nbs(n_workers=0, force=True)
    except Exception as e: return [' '.join(f'the docs build fails: {e!s:.200} … {e.__cause__!r:.200}'.split())], ''
    pages = [Page(o, root, cfg.nbs_path) for o in sorted(root.rglob('*.ipynb'))]
    known = {p.html: p for p in pages} | {p.name: p for p in pages}
    for p in pages:
        p.check_links(known, f'{cfg.doc_host}{cfg.doc_baseurl}'.rstrip('/') + '/')
        p.check_images()
    exist,listed = {p.name for p in pages},set(re.findall(r'[\w/-]+\.ipynb', (root/'sidebar.yml').read_text()))
    faults = [o for p in pages for o in dict.fromkeys(p.faults)]
    faults += [f'the sidebar misses {o}' for o in sorted(exist-listed)]
    faults += [f'the sidebar lists {o}, which does not exist' for o in sorted(listed-exist)]
    questions = {o for p in pages for o in p.ids if re.fullmatch(r'q\d+', o)}
    if all(p.parsed for p in pages) and len(questions)!=34: faults.append(f'{len(questions)} of 34 questions have an anchor')
    return faults, f'{len(pages)} pages, {sum(len(p.links) for p in pages)} links, {len(questions)} questions: all well-formed'

def main(*paths):
    if paths: faults,summary = [o for p in paths for o in read_notebook(p, p)],f'{len(paths)} notebooks: all well-formed'
    else:
        try: import pypandoc
        except ImportError: sys.exit('this check needs pandoc: pip install -c constraints.txt pypandoc_binary')
        from nbdev.config import get_config
        from nbdev.doclinks import nbglob
        cfg = get_config()
        books = sorted(nbglob(cfg.nbs_path, as_path=True))
        faults = [o for p in books for o in read_notebook(p, p.relative_to(cfg.nbs_path).as_posix())]
        site_faults,summary = read_site(cfg)
        faults += site_faults
    print('\n'.join(faults) or summary)
    if faults: print(f'{len(faults)} faults', file=sys.stderr)
    sys.exit(bool(faults))

if __name__=='__main__': main(*sys.argv[1:])
