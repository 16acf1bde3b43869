"""`phenolip prepare reports`: images and their reports, MIMIC-CXR-JPG among them, to pairs with findings."""

import argparse
import sys

HELP = "images and reports (MIMIC-CXR-JPG, a folder, a table) to pairs with findings"
_TEXT = """Reads a copy of the data that you have, and writes pairs to train on: the image, the FINDINGS and IMPRESSION
of its report, and the findings that rules find in them (severity, location, category, present or denied).

  phenolip prepare reports --layout mimic_cxr_jpg --source mimic-cxr-jpg --reports mimic-cxr-reports \\
      --output runs/mimic --views PA AP --max_side 512
      the official split by patient; parts of the set will do. Reports are those of MIMIC-CXR, unpacked
  phenolip prepare reports --layout folder --source DIR --output runs/reports
      a/b.png goes with a/b.txt, else with a.txt, else with the only .txt file in a/
  phenolip prepare reports --layout table --source list.csv --output runs/reports
      columns image_path and report (or report_path), and if known patient_id, study_id, split, view
  accelerate launch train/stage2.py --config train/configs/medfilip_mini.yaml --data runs/reports --split train ...

A run that was stopped goes on where it was. Nothing leaves the machine, and no message holds a word of a report."""


def add_parser(targets: argparse._SubParsersAction) -> None:
    """Declares `reports` among the targets of `phenolip prepare`."""
    form = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = targets.add_parser("reports", help=HELP, description=_TEXT, **form)
    parser.add_argument("--layout", required=True, choices=("mimic_cxr_jpg", "folder", "table"))
    parser.add_argument("--source", required=True, metavar="DIR|FILE", help="where images and tables lie")
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="gets train/, validation/, test/, card, manifest"
    )
    parser.add_argument("--reports", metavar="DIR", help="folder of the reports, where they do not lie in SOURCE")
    parser.add_argument(
        "--sections", nargs="+", default=["findings", "impression"], metavar="NAME", help="(findings impression)"
    )
    parser.add_argument("--views", nargs="+", default=[], metavar="VIEW", help="views to keep, such as PA AP (all)")
    parser.add_argument("--max_side", type=int, metavar="N", help="scale larger images down to N pixels")
    parser.add_argument("--license", metavar="TEXT", help="terms of the data (known for mimic_cxr_jpg)")
    parser.add_argument("--license_url", metavar="URL", help="where they are written")
    parser.add_argument("--hpo", metavar="PATH", help="hp.obo or hp.json (the installed release)")
    parser.add_argument(
        "--max_bad_fraction", type=float, default=0.01, metavar="F", help="share of images that may be damaged (0.01)"
    )
    parser.add_argument("--bad_rows", metavar="FILE", help="list of those (OUTPUT.bad_rows.jsonl)")


def run(args: argparse.Namespace) -> int:
    """Prepares and says what came of it."""
    from phenolip.datasets_scripts.reports import ReportSettings, prepare_reports  # needs the extra "phenokg"

    settings = ReportSettings(
        layout=args.layout,
        sections=tuple(name.casefold() for name in args.sections),
        views=tuple(args.views),
        max_side=args.max_side,
        license_text=args.license,
        license_url=args.license_url,
        hpo=args.hpo,
    )
    manifest = prepare_reports(
        args.source,
        args.output,
        settings,
        reports=args.reports,
        max_bad_fraction=args.max_bad_fraction,
        bad_rows_path=args.bad_rows or f"{args.output.rstrip('/')}.bad_rows.jsonl",
    )
    counts = ", ".join(f"{number:,} {split}" for split, number in manifest["num_rows"].items() if number)
    reasons = (manifest["bad_rows"] | manifest["left_out"]).items()
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in reasons) or "none"
    sys.stdout.write(
        f"Reports: {counts}; {manifest['num_rows_with_present_findings']:,} images with a finding that is present, in "
        f"{args.output}. Left out: {left_out}.\n"
    )
    if manifest["settings"]["layout"] != "mimic_cxr_jpg" and not manifest["num_rows"]["validation"]:
        sys.stdout.write(f"All rows are in train: `phenolip prepare split --source {args.output}` holds some out.\n")
    return 0
