"""LaTeX to readable text.

The steps, a module each: the files of a paper (:mod:`~astrosage.data.latex.project`); inputs,
comments and the author's macros, as TeX's own mouth takes them
(:mod:`~astrosage.data.latex.expand`); mathematics and verbatim text set aside
(:mod:`~astrosage.data.latex.fence`); the rest parsed by pylatexenc
(:mod:`~astrosage.data.latex.parse`) and written as text (:mod:`~astrosage.data.latex.render`).
"""
