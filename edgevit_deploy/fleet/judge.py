"""A file that the machine that built it cannot run, judged by one that can: the verdict is recorded in the bundle."""

from dataclasses import dataclass, replace

from edgevit_deploy.bundle.folder import README_NAME, record_files, write_manifest
from edgevit_deploy.bundle.readme import bundle_readme
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.fleet.jobs import Converted, Source, photographs_in
from edgevit_deploy.fleet.parcel import Parcel, pack, unpack
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.pipeline import Attempt
from edgevit_deploy.process.scratch import scratch_folder
from edgevit_deploy.verification.bundle import artifact_of, check_same_weights, check_weights
from edgevit_deploy.verification.rounded import ranges_of
from edgevit_deploy.workbench import open_workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class ToJudge:
    """A bundle by value, and what it was made from."""

    parcel: Parcel
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeJob:
    """Compare the file of a bundle with what its network gives, on this machine.

    Attributes:
        origin: of the network; where it names files of the sender's, the source has them.
        duration_s: how long the conversion took.
    """

    origin: ModelOrigin
    duration_s: float

    def run(self, given: ToJudge) -> Converted:
        """Judge the file as a conversion would, and return the bundle with this verdict.

        Raises:
            UsageError: these are not the bundle's weights.
            RunError: the runtime could not load or run the file.
        """
        with scratch_folder() as scratch:
            bundle = scratch / "bundle"
            manifest = unpack(given.parcel, bundle, "the client")
            loaded = load_model(given.source.origin_in(scratch, self.origin))
            check_same_weights(manifest, loaded)
            photographs = photographs_in(scratch / "photographs", given.source)
            calibration = CalibrationChoice(ranges=ranges_of(bundle, manifest))
            with open_workbench(loaded, THIS_HOST, photographs=photographs, calibration=calibration) as workbench:
                report = check_weights(manifest, artifact_of(bundle, manifest, THIS_HOST), workbench)
            judged = replace(manifest, parity=report)
            usage = THIS_HOST.find_exporter(manifest.target).usage
            (bundle / README_NAME).write_text(bundle_readme(judged, usage), encoding="utf-8")
            write_manifest(bundle, replace(judged, files=record_files(bundle)))
            reason = THIS_HOST.why_not_run(manifest.target) if report.status == "built, not run" else ""
            attempt = Attempt(target=manifest.target, precision=manifest.precision, status=report.status, reason=reason)
            return Converted(attempt=attempt, duration_s=self.duration_s, parcel=pack(bundle))
