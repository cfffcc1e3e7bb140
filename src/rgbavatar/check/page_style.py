"""The frame and the look of the report's page. PAGE is a format string; all that it takes is HTML already."""

from __future__ import annotations

MARK = '<meta name="generator" content="rgbavatar.check">'

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #ffffff; --faint: #6b7280; --rule: #d6dae0; --soft: #f4f5f7;
  --bad: #c0392b; --warn: #b7791f; --good: #1e7e45; --a: #1f6fb2; --b: #d97706; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16181c; --faint: #9aa3af; --rule: #343a42;
  --soft: #20242a; --bad: #ff7b6b; --warn: #e0b050; --good: #63d08f; --a: #6db3f2; --b: #f5a64a; } }
body { margin: 0 auto; max-width: 960px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 12px; }
h2 { font-size: 17px; margin: 32px 0 8px; }
.verdict { padding: 12px 16px; border-left: 5px solid; background: var(--soft); overflow-wrap: anywhere; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
table { border-collapse: collapse; } th, td { padding: 3px 18px 3px 0; text-align: left; vertical-align: top; }
th { font-weight: 500; color: var(--faint); } td { overflow-wrap: anywhere; }
ul { list-style: none; padding: 0; margin: 0; } li { border-top: 1px solid var(--rule); padding: 10px 0; }
li p { margin: 2px 0 0; overflow-wrap: anywhere; } li code { color: var(--faint); margin-left: 6px; }
.problem b { color: var(--bad); } .warning b { color: var(--warn); } .note b { color: var(--faint); }
.fix::before { content: "What to do: "; color: var(--faint); }
img, svg { width: 100%; height: auto; display: block; }
svg line { stroke: var(--rule); } svg text { fill: var(--faint); font-size: 12px; }
svg polyline { fill: none; stroke-width: 2; } .overlap polyline { stroke: var(--a); } .overlap circle { fill: var(--a); }
.inside polyline { stroke: var(--b); } .inside circle { fill: var(--b); }
.key span { margin-right: 18px; } .key i {
  display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle; }
.faint { color: var(--faint); }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{mark}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="verdict {state}">{verdict}</p>
<table>{facts}</table>
<h2>Findings</h2>
<ul>{findings}</ul>
<h2>Conventions</h2>
{guesses}
<h2>Mesh and mask over time</h2>
<p class="key"><span><i style="background:var(--a)"></i>overlap (IoU) of mesh and mask</span>
<span><i style="background:var(--b)"></i>share of the mesh inside the mask</span></p>
{curve}
<p class="faint">The mask may hold hair, neck and shoulders that the mesh has not, so the overlap of a good subject may be well
below 1. The share inside should be near 1 in every frame.</p>
{sheets}
<p class="faint">Blue: the mesh inside the mask. Red: the mesh outside of it. Yellow: the outline of the mask. The features of the
mesh (nose, eyes, mouth) should lie on those of the face in every frame.</p>
</body>
</html>
"""
