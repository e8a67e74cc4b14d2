"""What the usual commands and environments mean for text.

Arguments are written as pylatexenc has them: ``*`` a star, ``[`` an optional one, ``{`` one that
must be there. ``Command.shown`` are the arguments that are read; the others are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from astrosage.data.words import words


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        arguments: Which ones it takes.
        shown: Places of those that are read, in order.
        dropped: What kind of thing is dropped with it; empty where nothing is.
        text: What it stands for itself.
    """

    arguments: str = ""
    shown: tuple[int, ...] = ()
    dropped: str = ""
    text: str = ""


def _drop(kind: str, **groups: str) -> dict[str, Command]:
    return {
        name: Command(arguments, (), kind)
        for arguments, names in ((_ARGUMENTS[key], names) for key, names in groups.items())
        for name in names.split()
    }


_ARGUMENTS = {
    "none": "",
    "one": "*{",
    "two": "{{",
    "three": "{{{",
    "optional": "*[{",
    "four": "{{{{",
}

_LAYOUT = _drop(
    "layout",
    none="""noindent indent centering raggedright raggedleft par newpage clearpage cleardoublepage
    pagebreak nopagebreak linebreak nolinebreak smallskip medskip bigskip tiny scriptsize
    footnotesize small normalsize large Large LARGE huge Huge bf it rm sl sc tt sf em bfseries
    mdseries itshape slshape scshape upshape rmfamily sffamily ttfamily normalfont selectfont
    boldmath unboldmath hline toprule midrule bottomrule doublespacing singlespacing
    onehalfspacing sloppy fussy frenchspacing onecolumn twocolumn appendix frontmatter
    mainmatter backmatter maketitle tableofcontents listoffigures listoftables printindex
    makeindex balance raggedbottom flushbottom samepage landscape FloatBarrier tableline
    startdata enddata nodata capstart phantomsection nohyphenation baselineskip parindent
    parskip hsize vsize linewidth textwidth columnwidth textheight paperwidth paperheight
    hrule vrule hrulefill dotfill lineskip strut today qed bigbreak medbreak smallbreak
    thebibliography newblock expandafter cr noalign hidewidth colrule narrower obeylines
    obeyspaces nonfrenchspacing""",
    one="""vspace hspace pagestyle thispagestyle bibliographystyle pagenumbering linespread color
    hyphenation usetikzlibrary stretch vphantom hphantom phantom cline arrayrulecolor rowcolor
    cellcolor columncolor tablewidth tabletypesize tablecolumns setcitestyle graphicspath
    newcounter stepcounter refstepcounter usecounter enlargethispage fontencoding fontfamily
    fontseries fontshape usefont theoremstyle usepackage hypersetup
    captionsetup setlist tabcolsep floatplacement setkeys typeout message wlog""",
    two="""setcounter addtocounter setlength addtolength fontsize markboth rule settowidth
    numberwithin addtocontents newsavebox savebox setkeys titlespacing pdfbookmark""",
    three="addcontentsline definecolor DeclareFontShape DeclareGraphicsRule",
    optional="cmidrule markright",
)
_FRONT = _drop(
    "frontMatter",
    optional="""author affiliation affil altaffiltext altaffilmark email date address institute
    thanks offprints keywords keyword pacs subjectheadings received accepted slugcomment shorttitle
    shortauthors authorrunning titlerunning institution authors correspondingauthor orcid
    collaboration collaborators nocollaboration journalinfo archiveinfo preprint reportnum
    journal journalname volume issue pubyear vol pagerange software facility facilities
    submitjournal dedicatory correspondence homepage publisher tnotetext tnoteref corref
    cortext ead fntext fnref altaffiliation AuthorCallLimit watermark righthead lefthead
    newauthor subtitle authornote graphicalabstract""",
)
_GRAPHICS = _drop(
    "graphics",
    optional="includegraphics epsfbox epsfig psfig plotone epsffile figurenum includesvg",
    two="plottwo",
)
_LABELS = _drop("labels", one="label")
_REFERENCES = _drop("indexEntries", one="index glossary nocite", optional="glsadd")
_BIBLIOGRAPHY = _drop(
    "bibliography", one="bibliography", optional="printbibliography addbibresource bibitem"
)
_NOTES = _drop("noteMarks", optional="footnotemark tablenotemark", one="tablenotemark tnote")

# Commands whose last argument is the text that they dress.
_DRESSED: dict[str, str] = {
    "{": """textbf textit emph textrm textsc texttt textsf textsl textup textmd textnormal mbox
    hbox vbox fbox underline uline sout centerline leftline rightline text mathrm ensuremath boxed
    colhead lowercase uppercase MakeUppercase MakeLowercase smallcaps allcaps newthought
    textmyriad textcyr pmb boldsymbol bm mathbf mathit mathcal ul hl llap rlap smash vcenter
    uppercase tablecomments tableenum url path nolinkurl enquote textquote blockquote
    displayquote citetext thead num si unit ang""",
    "[{": "framebox makebox makecell marginnote marginpar sidenote",
    "{{": "textcolor colorbox scalebox rotatebox foreignlanguage hyperlink hypertarget raisebox",
    "*{{{": "multicolumn",
    "{{{": "resizebox fcolorbox",
    "[[{": "parbox",
    "{[{": "rotatebox*",
}


def _dressed() -> dict[str, Command]:
    return {
        name: Command(arguments, (len(arguments) - 1,))
        for arguments, names in _DRESSED.items()
        for name in names.split()
    }


_OWN = {
    "par": Command(text="\n\n"),
    "parbox": Command("[[[{{", (4,)),
    "rotatebox": Command("[{{", (2,)),
    "scalebox": Command("{[{", (2,)),
    "raisebox": Command("{[[{", (3,)),
    "resizebox": Command("*{{{", (3,)),
    "makebox": Command("[[{", (2,)),
    "framebox": Command("[[{", (2,)),
    "multirow": Command("[{[{[{", (5,)),
    "textcolor": Command("[{{", (2,)),
    "hyperref": Command("[{", (1,)),
    "texorpdfstring": Command("{{", (0,)),
    "subfloat": Command("[[{", (0, 2)),
    "subfigure": Command("[{", (0, 1)),
    "ion": Command("{{", (0, 1)),
    "num": Command("[{", (1,)),
    "ang": Command("[{", (1,)),
    "SI": Command("[{[{", (1, 3)),
    "qty": Command("[{{", (1, 2)),
    "si": Command("[{", (1,)),
    "unit": Command("[{", (1,)),
    "acknowledgments": Command(text="\n\n## Acknowledgments\n\n"),
    "acknowledgements": Command(text="\n\n## Acknowledgements\n\n"),
    "tablenotetext": Command("{{", (1,)),
    "tablerefs": Command("{", (0,)),
    "tablehead": Command("{", (0,)),
    "put": Command("", (), "layout"),
}

_SPACES = {
    " ": " ",
    "\n": " ",
    "\t": " ",
    ",": " ",
    ";": " ",
    ":": " ",
    "!": "",
    ">": " ",
    "quad": " ",
    "qquad": " ",
    "enspace": " ",
    "thinspace": " ",
    "space": " ",
    "nobreakspace": " ",
    "/": "",
    "-": "",
    "@": "",
    "(": "",
    ")": "",
    "[": "",
    "]": "",
}
_SIGNS = {
    "%": "%",
    "&": "&",
    "$": "$",
    "#": "#",
    "_": "_",
    "{": "{",
    "}": "}",
    "textbackslash": "\\",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textquoteright": "’",
    "textquoteleft": "‘",
    "textquotedblleft": "“",
    "textquotedblright": "”",
    "textquotesingle": "'",
    "textquotedbl": '"',
    "textemdash": "—",
    "textendash": "–",
    "textbar": "|",
    "textless": "<",
    "textgreater": ">",
    "textellipsis": "…",
    "ldots": "…",
    "dots": "…",
    "dotfill": "…",
    "slash": "/",
    "S": "§",
    "P": "¶",
    "copyright": "©",
    "textcopyright": "©",
    "textregistered": "®",
    "texttrademark": "™",
    "dag": "†",
    "ddag": "‡",
    "pounds": "£",
    "textmu": "μ",
    "textbullet": "•",
    "textperiodcentered": "·",
    "textasteriskcentered": "*",
    "textsection": "§",
    "textdegree": "°",
    "deg": "°",
    "degr": "°",
    "arcdeg": "°",
    "arcsec": "″",
    "arcmin": "′",
    "farcs": "″.",
    "farcm": "′.",
    "fdg": "°.",
    "micron": "μm",
    "sun": "⊙",
    "earth": "⊕",
    "lesssim": "≲",
    "gtrsim": "≳",
    "la": "≲",
    "ga": "≳",
    "lsim": "≲",
    "gsim": "≳",
    "LaTeX": "LaTeX",
    "TeX": "TeX",
    "BibTeX": "BibTeX",
    "etal": "et al.",
    "eg": "e.g.",
    "ie": "i.e.",
    "aj": "AJ",
    "apj": "ApJ",
    "apjl": "ApJL",
    "apjs": "ApJS",
    "aap": "A&A",
    "aaps": "A&AS",
    "araa": "ARA&A",
    "mnras": "MNRAS",
    "nat": "Nature",
    "pasp": "PASP",
    "pasj": "PASJ",
    "prd": "Phys. Rev. D",
    "prl": "Phys. Rev. Lett.",
    "physrep": "Phys. Rep.",
    "ssr": "Space Sci. Rev.",
    "jcap": "JCAP",
    "icarus": "Icarus",
}

COMMANDS: dict[str, Command] = {
    **_LAYOUT,
    **_FRONT,
    **_GRAPHICS,
    **_LABELS,
    **_REFERENCES,
    **_BIBLIOGRAPHY,
    **_NOTES,
    **_dressed(),
    **_OWN,
    **{name: Command(text=text) for name, text in {**_SPACES, **_SIGNS}.items()},
}
"""Commands by name, without those that the renderer writes in a form of their own."""

ENVIRONMENTS: dict[str, str] = {
    "figure": "[",
    "figure*": "[",
    "table": "[",
    "table*": "[",
    "marginfigure": "[",
    "margintable": "[",
    "sidewaysfigure": "[",
    "sidewaystable": "[",
    "wrapfigure": "[{[{",
    "wraptable": "[{[{",
    "subfigure": "[{",
    "subtable": "[{",
    "floatingfigure": "[{",
    "SCfigure": "[[",
    "minipage": "[[[{",
    "tabular": "[{",
    "tabular*": "{[{",
    "tabularx": "{[{",
    "tabulary": "{[{",
    "array": "[{",
    "longtable": "[{",
    "supertabular": "{",
    "xtabular": "{",
    "deluxetable": "{",
    "deluxetable*": "{",
    "itemize": "[",
    "enumerate": "[",
    "description": "[",
    "compactitem": "[",
    "compactenum": "[",
    "multicols": "{",
    "adjustwidth": "{{",
    "spacing": "{",
    "thebibliography": "{",
    "list": "{{",
    "CJK": "{{",
    "CJK*": "{{",
    "tabbing": "",
    "appendices": "",
}
"""Arguments of the usual environments; those of others are guessed."""

TABLES = words(
    """tabular tabular* tabularx tabulary array longtable supertabular xtabular deluxetable
    deluxetable* tabbing"""
)
LISTS = {
    "itemize": "- ",
    "compactitem": "- ",
    "enumerate": "1",
    "compactenum": "1",
    "description": "- ",
    "list": "- ",
    "trivlist": "- ",
}
FLOATS = words(
    """figure figure* table table* marginfigure margintable sidewaysfigure sidewaystable wrapfigure
    wraptable SCfigure floatingfigure longtable deluxetable deluxetable* supertabular"""
)
HEADINGS = {
    "part": 1,
    "chapter": 1,
    "section": 2,
    "subsection": 3,
    "subsubsection": 4,
    "paragraph": 5,
    "subparagraph": 6,
}
ACCENTS = {
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    '"': "\u0308",
    "~": "\u0303",
    "=": "\u0304",
    ".": "\u0307",
    "u": "\u0306",
    "v": "\u030c",
    "H": "\u030b",
    "c": "\u0327",
    "d": "\u0323",
    "b": "\u0331",
    "k": "\u0328",
    "r": "\u030a",
    "t": "\u0361",
}
"""Accents, as combining characters."""
