"""The HTML and CSS of the report page; every `{field}` is filled by `report.fill`, which escapes it."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --text: #1a1e26; --dim: #5a6372; --line: #dde1e8; --link: #1f5fbf;
  --good: #14713d; --good-soft: #d9f0e1; --bad: #b3261e; --bad-soft: #fbe0dd; --open: #8a5a00; --open-soft: #fbeecb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1b2029; --text: #e6e9ef; --dim: #9aa4b5; --line: #313947; --link: #8ab8ff;
    --good: #66d093; --good-soft: #183d29; --bad: #ff8a80; --bad-soft: #4a201d; --open: #f0c14b; --open-soft: #43340f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; }
a { color: var(--link); }
code, pre, .hash { font: .86em/1.5 ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; white-space: pre-wrap; }
.dim, dt, th { color: var(--dim); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 1.25rem 1.5rem; margin-top: 1.5rem; }
.title { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: center; }
.badge { border-radius: 99px; padding: .05rem .7rem; font-size: .86rem; font-weight: 600; white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-soft); }
.badge.bad { color: var(--bad); background: var(--bad-soft); }
.badge.open { color: var(--open); background: var(--open-soft); }
table { border-collapse: collapse; width: 100%; font-size: .94rem; }
th { text-align: left; font-weight: 500; font-size: .86rem; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td { overflow-wrap: anywhere; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .6rem 1.5rem; margin: .5rem 0; }
dt { font-size: .86rem; }
dd { margin: 0; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; margin: .5rem 0; }
li { margin: .35rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; margin-top: 1.25rem; }
.comparison { margin: .9rem 0 1.1rem; }
.comparison dl { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); font-size: .94rem; }
svg { display: block; width: 100%; height: 1.4rem; border-radius: 4px; margin: .35rem 0 .1rem; }
.allowed { fill: var(--good-soft); }
.beyond { fill: var(--bad-soft); }
.error.good { fill: var(--good); }
.error.bad { fill: var(--bad); }
.grid, .noise, .bound { vector-effect: non-scaling-stroke; }
.grid { stroke: var(--card); stroke-width: 1; opacity: .7; }
.noise { stroke: var(--text); stroke-width: 1.5; stroke-dasharray: 2 2; }
.bound { stroke: var(--text); stroke-width: 2.5; }
.axis { position: relative; height: 1.3rem; font-size: .78rem; color: var(--dim); font-variant-numeric: tabular-nums; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.axis span:first-child { transform: none; }
.axis span:last-child { transform: translateX(-100%); }
@media (max-width: 44rem) {
  main { padding: 1.25rem .75rem 3rem; }
  .card { padding: 1rem; }
  thead { display: none; }
  tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line); }
  tr:last-child { border-bottom: 0; }
  td, td.number { display: flex; gap: .75rem; border: 0; padding: .15rem 0; white-space: normal; }
  td::before { content: attr(data-label); flex: 0 0 7.5rem; color: var(--dim); font-size: .86rem; }
}
@media print { .card { break-inside: avoid-page; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>edgevit-deploy report</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>edgevit-deploy report</h1>
<p>{summary}</p>
<p class="dim">When this page was written every file of these bundles was hashed and had the sha256 that its manifest records.
The errors below are those that the manifests record; <code>convert.py verify</code> measures them again.</p>
<section class="card">
<h2>Verdicts</h2>
<table>
<thead><tr>
<th>bundle</th><th>target</th><th>verdict</th><th>ran on</th>
<th>largest error</th><th>bound</th><th>x noise</th><th>top-1 agrees</th><th>MB</th>
</tr></thead>
<tbody>{verdicts}</tbody>
</table>
</section>
{bundles}
</main>
</body>
</html>
"""

VERDICT_ROW = """
<tr>
<td data-label="bundle"><a href="#{anchor}">{label}</a></td>
<td data-label="target">{target}</td>
<td data-label="verdict">{badge}</td>
<td data-label="ran on">{runtime}</td>
<td data-label="largest error" class="number">{max_abs}</td>
<td data-label="bound" class="number">{atol}</td>
<td data-label="x noise" class="number">{noise_ratio}</td>
<td data-label="top-1 agrees" class="number">{agreement}</td>
<td data-label="MB" class="number">{megabytes}</td>
</tr>"""

BADGE = """<span class="badge {kind}">{text}</span>"""

BUNDLE = """
<section class="card" id="{anchor}">
<div class="title"><h2>{label}</h2>{badge}</div>
<p>{sentence}</p>
<h3>Parity with PyTorch float64</h3>
{parity}
<h3>Limits and notes</h3>
<ul>{notes}</ul>
<h3>Model</h3>
{model}
<h3>Input, output and preprocessing</h3>
{interface}
<h3>Prove it again</h3>
<pre>python convert.py verify {folder}{whole}</pre>
<p class="dim">Or on the device, without this program: feed <code>{golden_input}</code>, float32 {golden_input_shape}, and compare
with <code>{golden_output}</code>, float32 {golden_output_shape}; both are raw little-endian, in C order, without a header.</p>
<details><summary>Files and hashes ({file_count})</summary>
<table>
<thead><tr><th>file</th><th>bytes</th><th>sha256</th></tr></thead>
<tbody>{files}</tbody>
</table>
</details>
<details><summary>Tools ({tool_count})</summary>
{tools}
</details>
<details><summary>Options, and facts read back from the file</summary>
{options}
{facts}
</details>
</section>
"""

COMPARISON = """
<div class="comparison">
<div>{title}</div>
<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{description}">
<rect class="allowed" x="0" y="0" width="{bound}" height="10"/>
<rect class="beyond" x="{bound}" y="0" width="{rest}" height="10"/>
{grid}
<rect class="error {kind}" x="0" y="3" width="{error}" height="4"/>
<line class="noise" x1="{noise}" x2="{noise}" y1="0" y2="10"/>
<line class="bound" x1="{bound}" x2="{bound}" y1="0" y2="10"/>
</svg>
<div class="axis">{axis}</div>
{figures}
</div>"""

LEGEND = """<p class="dim">Bar: largest absolute error, on a logarithmic scale. Thick line: the bound; dashed line: PyTorch's own
rounding noise. A bar that ends in the green passes. {reasons}</p>"""

GRID_LINE = """<line class="grid" x1="{x}" x2="{x}" y1="0" y2="10"/>"""
AXIS_MARK = """<span style="left:{x}%">{text}</span>"""
FACTS = """<dl>{pairs}</dl>"""
FACT = """<div><dt>{name}</dt><dd>{value}</dd></div>"""
NOTE = """<li>{text}</li>"""
FILE_ROW = """
<tr>
<td data-label="file">{path}</td>
<td data-label="bytes" class="number">{bytes}</td>
<td data-label="sha256" class="hash">{sha256}</td>
</tr>"""
