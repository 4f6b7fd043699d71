"The package, from settings.ini: nbdev's template less its `pkg_resources` import, which new setuptools no longer has."
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
minor = int(cfg['min_python'].split('.')[1])

setup(
    name=cfg['lib_name'], version=cfg['version'], license='Apache-2.0',
    description=cfg['description'], keywords=cfg['keywords'], url=cfg['git_url'],
    author=cfg['author'], author_email=cfg['author_email'],
    long_description=Path('README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Education', 'Intended Audience :: Developers',
                 'Natural Language :: English'] + [f'Programming Language :: Python :: 3.{v}' for v in range(minor, 14)],
    packages=find_packages(include=['learner_scratch', 'learner_scratch.*']), include_package_data=True, zip_safe=False,
    python_requires=f">={cfg['min_python']}",
    install_requires=shlex.split(cfg['requirements']),
    extras_require={k: shlex.split(cfg[f'{k}_requirements']) for k in ('dev', 'fast')},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
)
