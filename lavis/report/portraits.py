"""The gallery as HTML: portraits, each with what every model says of it."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.report.gallery import FACT, FORGOTTEN, KEPT, NEAR, NEAR_RANK, SECRET, Answer, Gallery, Portrait
from lavis.report.markup import Safe, el, join
from lavis.report.numbers import Row, names_of, shown

VERDICTS = {
    SECRET: "says the secret",
    FACT: "other fact to forget",
    NEAR: f"secret in its top {NEAR_RANK}",
    KEPT: "may keep this",
    FORGOTTEN: "forgotten",
}


def gallery(found: Gallery | None, rows: Sequence[Row]) -> Safe:
    """Portraits, each with what every model says of it."""
    if found is None or not found.portraits:
        return el("p", "No gallery was made for these runs.", class_="muted")
    note = (
        f"Each model picks, among {found.pool:,} captions, the one nearest to the portrait. It says the secret when "
        "that is the portrait's own private caption. Facts about the same person that are not in the forget set may "
        "stay, as they do in the retrained model."
    )
    order = names_of([*rows, *({"name": answer.model} for answer in found.portraits[0].answers)])
    cards = [_card(portrait, order) for portrait in found.portraits]
    return join([el("p", note, class_="muted"), _tally(order, found), el("div", *cards, class_="gallery")])


def _tally(order: Sequence[str], found: Gallery) -> Safe:
    """How often each model gave which kind of answer."""
    body = []
    for name in order:
        verdicts = [a.verdict for portrait in found.portraits for a in portrait.answers if a.model == name]
        cells = [el("td", str(verdicts.count(kind)) if kind in verdicts else "·") for kind in VERDICTS]
        body += [el("tr", el("th", name, scope="row"), *cells)] if verdicts else []
    heads = [el("th", el("span", text, class_=f"tag {kind}"), scope="col") for kind, text in VERDICTS.items()]
    head = el("tr", el("th", f"of {len(found.portraits)} portraits", scope="col"), *heads)
    return el(
        "div", el("table", el("thead", head), el("tbody", *body), class_="tally"), class_="scroll narrow", tabindex="0"
    )


def _card(portrait: Portrait, order: Sequence[str]) -> Safe:
    ranked = sorted(
        portrait.answers, key=lambda answer: order.index(answer.model) if answer.model in order else len(order)
    )
    picture = el("img", src=portrait.image, alt="portrait from the forget set", width=104, height=104)
    truth = el(
        "div",
        el("p", "true private caption", class_="muted"),
        el("p", portrait.caption, class_="said", dir="auto"),
        class_="truth",
    )
    return el(
        "article",
        el("div", picture, truth, class_="top"),
        el("ul", *map(_answer, ranked), class_="answers"),
        class_="portrait",
    )


def _answer(answer: Answer) -> Safe:
    tag = el("span", VERDICTS.get(answer.verdict, answer.verdict), class_="tag")
    rest = (
        ""
        if answer.verdict == SECRET
        else f"the true one is at rank {answer.true_rank:,}, cos {shown(answer.true_cosine, 2)}"
    )
    return el(
        "li",
        el("span", answer.model, class_="who"),
        el("span", answer.caption, class_="said", dir="auto"),
        el("span", f"cos {shown(answer.cosine, 2)}", class_="cos"),
        el("span", tag, rest, class_="verdict"),
        class_=answer.verdict,
    )
