"""What the kept evidence of trust says, in words: every number is read off the tables.

One function a question of notebook 08. Whatever could turn out otherwise in another study, which
way a difference points or how many seeds agree, is read off as well.
"""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from hsutils.models.build import MODELS

Tables = Mapping[str, pd.DataFrame]


def finding(question: str, made: Tables) -> str:
    """One paragraph of Markdown.

    Args:
        question: a key of `FINDINGS`.
        made: the tables of a folder such as `figures/trust`, see `read_tables`.
    """
    return "**On the real recordings:** " + FINDINGS[question](made)


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """What is kept of trust and what was computed from it, by file name."""
    return {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}


def summary(made: Tables) -> str:
    """The README's answer to how far the numbers can be trusted, wrapped to 100 columns."""
    rival = made["intervals"].query("model == 'format only'").set_index("metric").value
    effect = made["leak_effect"].set_index("model").change["student"]
    noise = {"perturbation": "white noise", "level": 20.0, "model": "student"}
    text = (
        "Not far as a measure of hearing hearts. A rival that never hears a sound, and knows of "
        "each file only its database, its number of distinct sample values, its peak, its clipped "
        "samples and its length, learns from the same 400 labels a test AUROC of "
        f"{rival['auroc']:.2f} and an accuracy of {rival['accuracy']:.2f}; the paper's student has "
        f".915 and .855. {_capital(_heart(made))} White noise 20 dB below the sound changes the "
        f"student's AUROC by {cell(made['robustness'], 'change', **noise):+.2f}. Leaks between "
        f"the published lists are real but small ({effect:+.3f} without them)."
    )
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def cell(table: pd.DataFrame, column: str, **where: object) -> float:
    """The one value of a column in the row where other columns have these values.

    Raises:
        KeyError: if there is no such row, or more than one.
    """
    for name, value in where.items():
        table = table[table[name] == value]
    if len(table) != 1:
        raise KeyError(f"{len(table)} rows where {where}, not one")
    return table[column].iloc[0]


def seeds(count: int, total: int, verb: str) -> str:
    """How many do: "no seed tells", "every seed tells" or "2 of 3 seeds tell"."""
    one = {0: "no seed", total: "every seed"}
    return f"{one[count]} {verb}s" if count in one else f"{count} of {total} seeds {verb}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _range(values: pd.Series) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"


def _interval(row: pd.Series, digits: int = 2) -> str:
    return f"{row.low:.{digits}f} to {row.high:.{digits}f}"


def _chance(made: Tables) -> str:
    auroc = made["intervals"].query("metric == 'auroc'").set_index("model")
    each = [f"{auroc.value[m]:.3f} ({_interval(auroc.loc[m], 3)}) for the {m}" for m in MODELS]
    moved = (auroc.seed_max - auroc.seed_min)[list(MODELS)]
    by_seed = ", ".join(f"{moved[m]:.3f} ({m})" for m in MODELS)
    widest = "teacher and student" if moved["baseline"] == moved.max() else "the models"
    return (
        f"({auroc.seeds['teacher']:.0f} seeds; `figures/trust/intervals.csv`) the test AUROC is "
        f"{each[0]}, {each[1]} and {each[2]}. Over seeds they move by {by_seed} in all: for "
        f"{widest}, which recordings are in *test* matters more than which seed trained."
    )


def _differences(made: Tables) -> str:
    paired = made["paired"]
    apart = paired.assign(apart=(paired.low > 0) | (paired.high < 0))

    def of(a: str, b: str, metric: str = "auroc") -> pd.DataFrame:
        return apart[(apart.a == a) & (apart.b == b) & (apart.metric == metric)]

    close, far = of("teacher", "student"), of("student", "baseline")
    rival, right = of("student", "format only"), of("student", "format only", "accuracy")
    better, behind = (rival.low > 0).sum(), (right.difference < 0).sum()
    return (
        f"{seeds(close.apart.sum(), len(close), 'tell')} student from teacher (differences of "
        f"{_range(close.difference)} in AUROC), {seeds(far.apart.sum(), len(far), 'tell')} student "
        f"from baseline ({_range(far.difference)}), and {seeds(better, len(rival), 'find')} the "
        f"student to rank better than the rival *format only*; in accuracy that rival is ahead in "
        f"{behind} of {len(right)}, clearly so in {(right.high < 0).sum()}."
    )


def _leaks(made: Tables) -> str:
    shared = made["leaks"].query("kind == 'shared audio'")
    copies = made["leaks"].query("kind == 'validation copy'")
    effect = made["leak_effect"].set_index("model")
    return (
        f"{shared.pairs.sum()} pairs of the published lists share up to "
        f"{shared.longest_seconds.max():.0f} s of audio across splits, with "
        f"{effect.dropped['student']} test recordings among them. Without those the student's "
        f"AUROC changes by {effect.change['student']:+.3f}, the teacher's by "
        f"{effect.change['teacher']:+.3f}: the leaks are real, and they did not make the score. "
        f"The `validation` folder holds {copies.recordings.sum()} copies, most of them of "
        "recordings that the models train on."
    )


def _rivals(made: Tables) -> str:
    value = made["intervals"].set_index(["model", "metric"]).value
    largest = made["facts"].database.mode()[0]
    levels = made["facts"].query("database == @largest").groupby("label").levels.median()
    separation = made["separation"].query("database == @largest and fact == 'levels_per_second'")
    return (
        f"the letter alone reaches a test AUROC of {value['database letter', 'auroc']:.2f}, the "
        f"format {value['format only', 'auroc']:.2f} with an accuracy of "
        f"{value['format only', 'accuracy']:.2f}, the band statistics "
        f"{value['band statistics', 'auroc']:.2f}; the student {value['student', 'auroc']:.2f} "
        f"with an accuracy of {value['student', 'accuracy']:.2f}. In database {largest} the "
        "number of distinct sample values over the length alone tells the classes apart with "
        f"AUROC {separation.distance.iloc[0] + 0.5:.2f}: normal recordings there hold "
        f"{levels[0]:,.0f} different values (median), abnormal ones {levels[1]:,.0f}. "
        "`figures/trust/stored-levels.png` shows the steps."
    )


def _heart(made: Tables) -> str:
    table = made["heart_or_stethoscope"]
    rows = {m: table.query("model == @m and database == 'not e'").iloc[0] for m in MODELS}
    inside = {m: cell(table, "auroc", model=m, protocol="within", database="e") for m in MODELS}
    ordinary = cell(table, "auroc", model="teacher", protocol="all")
    text = (
        f"the teacher falls from {ordinary:.2f} on the ordinary test to "
        f"{rows['teacher'].auroc:.2f} ({_interval(rows['teacher'])}) among recordings of one "
        "database, e set aside because its format gives the label away; the student to "
        f"{rows['student'].auroc:.2f} ({_interval(rows['student'])}), the baseline to "
        f"{rows['baseline'].auroc:.2f} ({_interval(rows['baseline'])}). Within e they reach "
        f"{inside['teacher']:.3f}, {inside['student']:.3f} and {inside['baseline']:.3f}. "
    )
    return text + _never_heard(table, made["left_out"])


def _never_heard(table: pd.DataFrame, left_out: pd.DataFrame) -> str:
    """What is left on a database that was left out of training."""
    left = table[table.protocol == "left out"]
    mean = left[left.database.notna()].groupby("model").auroc.mean()
    rule = cell(left, "auroc", model="format only", database="e")
    rivals = (
        f"The rivals, which learned formats, are left with {mean['format only']:.2f} (format) and "
        f"{mean['band statistics']:.2f} (bands) on databases they never heard, averaged over all "
        f"six; in e the format's rule is even reversed ({rule:.2f})."
    )
    heard = left[left.model.isin(MODELS) & left.database.notna()]
    if heard.database.nunique() < left.database.nunique():
        return "How the three networks do there is not measured for all databases yet. " + rivals
    worst = heard[heard.model == "teacher"].sort_values("auroc").iloc[0]
    count = left_out.columns.str.startswith("teacher/").sum()
    trained = "one seed" if count == 1 else f"{count} seeds"
    return (
        f"On databases they never heard, averaged over all six ({trained}), the teacher reaches "
        f"{mean['teacher']:.2f} (lowest in {worst.database}: {worst.auroc:.2f}), the student "
        f"{mean['student']:.2f} and the baseline {mean['baseline']:.2f}. {rivals}"
    )


def _probe(made: Tables) -> str:
    probe = made["probe"].set_index("features")
    share = probe.balanced_accuracy
    return (
        f"the database is read off the teacher's features in {share['teacher']:.0%} of cases "
        f"(seed 0; mean over databases), off the student's in {share['student']:.0%}; chance is "
        f"{probe.chance['teacher']:.0%}. Nobody asked them to know it."
    )


def _clinic(made: Tables) -> str:
    student = made["prevalence"].query("model == 'student'")
    ppv = {p: cell(student, "ppv", prevalence=p) for p in (0.5, 0.2, 0.02)}
    return (
        f"an abnormal call of the student (seed 0, logit 0) is right {ppv[0.5]:.0%} of the time "
        f"in the test split, {ppv[0.2]:.0%} where a fifth are abnormal and {ppv[0.02]:.0%} where "
        "one in fifty is; and that takes its sensitivity for granted, which the previous sections "
        "do not."
    )


def _thresholds(made: Tables) -> str:
    rules = made["thresholds"].set_index(["model", "rule"])
    plain, youden = rules.loc["student", "logit 0"], rules.loc["student", "Youden"]
    asked = {m: rules.sensitivity[m, "sensitivity 0.95"] for m in MODELS}
    kept = ", ".join(f"{asked[m]:.3f} ({m})" for m in MODELS)
    return (
        f"(seed 0) the student, moved to Youden's threshold, finds {youden.sensitivity:.1%} of the "
        f"abnormal instead of {plain.sensitivity:.1%} and clears {youden.specificity:.1%} of the "
        f"normal instead of {plain.specificity:.1%}: its accuracy goes from {plain.accuracy:.3f} "
        f"to {youden.accuracy:.3f}; the paper's is .855. Of the sensitivity of 0.95 asked for on "
        f"*dev* the test split leaves {kept}."
    )


def _calibration(made: Tables) -> str:
    table = made["calibration"].set_index(["model", "calibration"])
    factor = {m: table.temperature[m, "temperature"] for m in MODELS}
    ece = {m: [table.ece[m, c] for c in ("as trained", "temperature and shift")] for m in MODELS}
    each = "; ".join(
        f"{m} {ece[m][0]:.2f}, temperature {factor[m]:.2f}, with a shift {ece[m][1]:.2f}"
        for m in MODELS
    )
    return (
        f"(seed 0) the expected calibration errors are: {each}. A temperature near 1 with an error "
        "that a shift lowers means: not too sure, but leaning to one side. The baseline, trained "
        "on 3% abnormal recordings, leans most."
    )


def _quality(made: Tables) -> str:
    quality = made["quality"].set_index(["model", "subset"])
    noisy = {m: quality.loc[m, "too noisy"] for m in MODELS}
    each = ", ".join(
        f"{m} {quality.auroc[m, 'usable']:.2f} and {noisy[m].auroc:.2f} ({_interval(noisy[m])})"
        for m in MODELS
    )
    rank = made["length_score"].set_index(["model", "label"]).loc["student"]
    return (
        f"(seed 0) AUROC on usable recordings and on the {noisy['teacher'].recordings:.0f} that "
        f"are too noisy to be sure: {each}. So few noisy ones leave wide intervals. The student's "
        f"logit follows duration: rank correlation {rank.spearman[1]:.2f} among abnormal and "
        f"{rank.spearman[0]:.2f} among normal recordings. Within databases {rank.within[1]:.2f} "
        f"({rank.within_low[1]:.2f} to {rank.within_high[1]:.2f}) and {rank.within[0]:.2f} "
        f"({rank.within_low[0]:.2f} to {rank.within_high[0]:.2f}) are left of it; the rest says no "
        "more than that databases differ in length."
    )


def _robustness(made: Tables) -> str:
    table = made["robustness"]

    def change(kind: str, level: float, model: str = "student") -> float:
        return cell(table, "change", perturbation=kind, level=level, model=model)

    short = {m: change("shortened", 3.0, m) for m in MODELS}
    return (
        f"(seed 0) white noise 20 dB below the sound changes the student's AUROC by "
        f"{change('white noise', 20.0):+.2f}, speech-like noise 15 dB below it by "
        f"{change('speech-like noise', 15.0):+.2f}, hum as loud as the sound by "
        f"{change('hum 50 Hz', 0.0):+.2f} (50 Hz) and {change('hum 60 Hz', 0.0):+.2f} (60 Hz). "
        f"Cut to 3 s, the teacher changes by {short['teacher']:+.2f}, the student by "
        f"{short['student']:+.2f}, the baseline by {short['baseline']:+.2f}. Faint noise fills "
        "the steps between stored levels: that it costs so much is what one would expect of a "
        "model that reads the format, though this alone does not prove it."
    )


FINDINGS: dict[str, Callable[[Tables], str]] = {
    "chance": _chance,
    "differences": _differences,
    "leaks": _leaks,
    "rivals": _rivals,
    "heart": _heart,
    "probe": _probe,
    "clinic": _clinic,
    "thresholds": _thresholds,
    "calibration": _calibration,
    "quality": _quality,
    "robustness": _robustness,
}
"""Question -> what the tables answer."""
