"""The page's style sheet, inline because the page must open from anywhere."""

from __future__ import annotations

CSS = """
:root { color-scheme: light; --ink: #1d2633; --muted: #566273; --line: #dfe4ea; --soft: #f5f7f9;
  --red: #b3261e; --red-soft: #fbeae8; --amber: #7a5200; --amber-soft: #fdf3dc;
  --green: #0f6b4f; --green-soft: #e5f4ee; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1240px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 36px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .5rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0 .9rem; max-width: 46rem; }
.muted, figcaption, footer { color: var(--muted); font-size: .9rem; }
.lead { font-size: 1.08rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; font-size: .82rem; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .9rem; margin: .8rem 0 0; }
nav a, a { color: #1f5f9c; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  gap: 14px; margin: 1rem 0; }
.card { border: 1px solid var(--line); border-top: 4px solid var(--accent, var(--muted)); border-radius: 8px;
  padding: 12px 14px; break-inside: avoid; }
.card h3 { margin: 0 0 .3rem; }
.card dl { display: grid; grid-template-columns: 1fr auto; gap: 2px 10px; margin: 0; font-size: .92rem; }
.card dt { color: var(--muted); }
.card dd { margin: 0; text-align: right;
  font-variant-numeric: tabular-nums; font-weight: 600; }
.note { background: var(--amber-soft); color: #4a3300; border-radius: 8px; padding: 10px 14px; margin: 1rem 0; }
.note p { margin: 0 0 .3rem; max-width: none; } .note ul { margin: 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; margin: .8rem 0; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--muted); font-size: .8rem; white-space: normal; vertical-align: bottom;
  min-width: 4.4rem; line-height: 1.25; background: var(--soft); }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff; z-index: 1; min-width: 0; }
thead th:first-child { background: var(--soft); }
tbody tr:last-child > * { border-bottom: 0; }
tr.reference td, tr.reference th { background: #fafbfc; }
.narrow { width: fit-content; max-width: 100%; } .tally thead .tag { margin: 0; } .tally thead th { min-width: 0; }
td.best { font-weight: 700; } td.best small { font-weight: 400; }
td.absent { color: var(--muted); font-style: italic; white-space: normal; }
th small, td small { display: block; font-weight: 400; font-size: .72rem; line-height: 1.35; color: var(--muted); }
th[scope=row] small a { color: inherit; } th[scope=row] small { padding-left: 1.75em; }
th[scope=row] { white-space: nowrap; }
.key { width: .9em; height: .9em; margin-right: .5em; vertical-align: -.08em; overflow: visible; }
.metrics { font-size: .84rem; } .metrics td, .metrics th { padding: 5px 6px; vertical-align: top; }
.metrics thead th { vertical-align: bottom; }
.arrow { color: var(--ink); white-space: nowrap; }
.origin { font-size: .74rem; font-weight: 600; color: var(--muted); border: 1px solid var(--line); border-radius: 9px;
  padding: 1px 8px; margin-left: .4em; vertical-align: .1em; }
tr.group th { background: var(--soft); font-size: .8rem; color: var(--muted); text-align: left; }
tr.published th[scope=row] { white-space: normal; min-width: 9rem; }
tr.published th, tr.published td { color: #39465a; background: #fbfaf5; font-style: italic; }
.judged td { vertical-align: top; } .judged th[scope=row] { vertical-align: top; }
.judged .word, .judged .reasons { text-align: left; } .judged .word .tag { margin: 0; }
.judged thead th:nth-child(2), .judged thead th:last-child { text-align: left; }
.judged .reasons { white-space: normal; min-width: 19rem; font-size: .8rem; line-height: 1.4; }
.runs td, .runs th { text-align: left; vertical-align: top; } .runs tr:target > * { background: var(--amber-soft); }
.runs .wide { white-space: normal; min-width: 22rem; } .runs .path { white-space: normal; min-width: 13rem; }
.runs code { overflow-wrap: anywhere; font-size: .74rem; } .runs p { margin: .3rem 0 0; }
.runs tr { scroll-margin-top: 3rem; }
.legend { display: grid; grid-template-columns: max-content 1fr; gap: 3px 14px; font-size: .86rem; margin: .6rem 0; }
.legend dt { font-weight: 600; } .legend dd { margin: 0; color: var(--muted); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 22px 30px; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); gap: 22px 28px; }
figure { margin: .6rem 0 0; break-inside: avoid; }
.plot { display: block; width: 100%; height: auto; max-width: 560px; font-family: inherit; overflow: visible; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr));
  gap: 18px; margin-top: 1rem; }
.portrait { border: 1px solid var(--line); border-radius: 8px; padding: 14px; break-inside: avoid; min-width: 0; }
.portrait .top { display: flex; gap: 14px; align-items: flex-start; }
.portrait img { width: 104px; height: 104px; object-fit: cover; border-radius: 6px; flex: none;
  background: var(--soft); }
.portrait .truth { min-width: 0; } .portrait .truth p { margin: 0; }
.said { overflow-wrap: anywhere; unicode-bidi: isolate; }
.truth .said { font-weight: 600; }
.answers { list-style: none; padding: 0; margin: 12px 0 0; }
.answers li { border-top: 1px solid var(--line); padding: 5px 0; display: grid; gap: 1px 10px;
  grid-template-columns: 7.2rem minmax(0, 1fr) auto; font-size: .9rem; align-items: baseline; }
.answers .who { font-weight: 600; overflow-wrap: anywhere; }
.answers .cos { font-variant-numeric: tabular-nums; color: var(--muted); white-space: nowrap; }
.answers .verdict { grid-column: 2 / -1; font-size: .8rem; color: var(--muted); }
.tag { display: inline-block; border-radius: 4px; padding: 0 7px; font-weight: 600; margin-right: 6px; }
.secret .tag, .tag.secret { background: var(--red-soft); color: var(--red); }
.fact .tag, .tag.fact { background: var(--amber-soft); color: var(--amber); }
.near .tag, .tag.near { background: #fdeedd; color: #8a3d00; }
.kept .tag, .tag.kept { background: #eaf0f7; color: #2b4f77; }
.forgotten .tag, .tag.forgotten { background: var(--green-soft); color: var(--green); }
.tag.none { background: var(--green-soft); color: var(--green); }
.tag.catastrophic, .tag.broken { background: var(--red-soft); color: var(--red); }
.tag.ineffective { background: var(--amber-soft); color: var(--amber); }
.tag.over-generalised { background: #efe9f8; color: #553388; } .tag.not-measured { background: var(--soft); }
footer { padding: 30px 20px 40px; }
@media (max-width: 560px) {
  .tally th, .tally td { padding: 6px 5px; }
  h1 { font-size: 1.5rem; } main, header, footer { padding-left: 14px; padding-right: 14px; }
  .legend { grid-template-columns: 1fr; } .legend dd { margin-bottom: 5px; }
  .answers li { grid-template-columns: minmax(0, 1fr) auto; }
  .answers .said { grid-column: 1 / -1; grid-row: 2; } .answers .verdict { grid-column: 1 / -1; }
  .portrait img { width: 84px; height: 84px; }
}
@page { size: A4; margin: 14mm; }
@page wide { size: A4 landscape; margin: 12mm; }
@media print {
  body { font-size: 10pt; } main, header, footer { max-width: none; padding: 0; } nav { display: none; }
  .scroll { overflow: visible; border: 0; } table { font-size: 7pt; } thead th { min-width: 0; font-size: 6.5pt; }
  .metrics th, .metrics td, th, td { padding: 2px 3px; } th:first-child { position: static; }
  th small, td small { font-size: 6pt; } tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .judged .reasons, .runs .wide, .runs .path { min-width: 0; } .runs code { font-size: 6pt; }
  .verdicts, .benchmark, .table, section.runs, footer { page: wide; } footer { padding: 8px 0; }
  .judged .reasons { font-size: 7pt; } .metrics { font-size: 7.5pt; }
  .figures { grid-template-columns: 1fr 1fr; }
  .panels { grid-template-columns: 1fr 1fr 1fr; } .gallery { grid-template-columns: 1fr 1fr; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
