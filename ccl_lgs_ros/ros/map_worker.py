# SPDX-License-Identifier: Apache-2.0
"""The process that builds the map: takes in keyframes as they are stored, refines, publishes, does jobs on demand.

Nothing here knows ROS.
"""

import logging
import time

from ccl_lgs_ros.config import MapConfig, updated
from ccl_lgs_ros.errors import Cancelled, CclLgsError, MapError
from ccl_lgs_ros.pipeline import MapSession
from ccl_lgs_ros.ros.guards import sentence
from ccl_lgs_ros.ros.worker_inbox import Inbox, Outbox
from ccl_lgs_ros.ros.worker_memory import is_out_of_memory, leaner, release_memory
from ccl_lgs_ros.ros.worker_messages import Build, Finished, Reset, Save, Settings
from ccl_lgs_ros.ros.worker_reporter import Reporter
from ccl_lgs_ros.ros.worker_results import built, count_of, failed, fields_of, saved
from ccl_lgs_ros.session_state import forget_session
from ccl_lgs_ros.storage.keyframe_store import KeyframeStore
from ccl_lgs_ros.storage.map_directory import MapDirectory
from ccl_lgs_ros.storage.snapshot import load
from ccl_lgs_ros.structures import SemanticMap

logger = logging.getLogger(__name__)

LOOK_PERIOD = 0.3  # seconds between looks for new keyframes
PAUSE_PERIOD = 0.05  # seconds between looks whether a pause is over
RETRY_PERIOD = 30.0  # seconds before work that failed is tried again without being asked to
QUIET = 1.0  # seconds without a new keyframe after which what there is is published

Job = Build | Save | Reset


class MapWorker:
    """A map session and what it is to do next.

    Args:
        inbox: commands from the node.
        outbox: to the node.
    """

    def __init__(self, inbox: Inbox, outbox: Outbox) -> None:
        self.inbox, self.outbox = inbox, outbox
        settings = self.settings
        self.config = updated(MapConfig(), settings.options)
        self.is_lean = False  # memory ran out and the options were cut down
        self.directory = MapDirectory.open_or_create(settings.map_path)
        self.directory.lock("snapshots")
        self.store = KeyframeStore(self.directory)
        self.published: SemanticMap | None = load(self.directory) if self.directory.newest_version() else None
        self.session: MapSession | None = None
        self.job: Build | Save | Reset | None = None
        self.ends_at = 0.0  # time.monotonic at which the present job is out of time; 0 = never
        self.is_out_of_time = False
        self.error = ""
        self._retry_at = 0.0
        self._reporter = Reporter(self.directory, outbox)
        self._num_refined = count_of(self.published, "refined")  # keyframes that a refine had
        self._last_new = self._published_at = time.monotonic()

    @property
    def settings(self) -> Settings:
        """What the node was configured to, as it is now."""
        return self.inbox.settings

    def run(self) -> None:
        """Work until told to stop."""
        while not self.inbox.is_stopped:
            job = self.inbox.next_job(LOOK_PERIOD)
            if job is not None:
                self._do(job)
            elif time.monotonic() >= self._retry_at and not self.settings.is_paused:
                self._work_unasked()
            else:
                self.report_rest()
        if self._is_dirty:
            self._publish()
        if self.session is not None and not self.session.is_kept:
            self.session.keep()

    @property
    def _num_published(self) -> int:
        """Keyframes that the published map was made from."""
        return count_of(self.published, "keyframes")

    @property
    def _is_dirty(self) -> bool:
        """Whether the session knows more than what is published; one that is still catching up knows less."""
        session, published = self.session, (self._num_published, count_of(self.published, "revision"))
        return session is not None and (session.num_added, session.revision) > published

    def _work_unasked(self) -> None:
        try:
            self._live()
        except Cancelled:
            pass
        except Exception as error:
            if not self._cut_down(error):
                self._broke(error)
        self.report_rest()

    def _live(self) -> None:
        """Keyframes that came, else a snapshot that is due, else a refine that is due."""
        settings, now = self.settings, time.monotonic()
        if self.store.refresh():
            self._last_new = now
        is_known = len(self.store) <= min(self._num_published, self._num_refined)
        is_moved = self.published is not None and self.store.revision > count_of(self.published, "revision")
        if not settings.train or (is_known and not is_moved and not self._is_dirty):
            return
        session = self._session()
        self._follow(session)
        while session.num_added < len(self.store):
            session.add(self.store[session.num_added])
            self.progress("keyframes", session.num_added, len(self.store), gaussians=len(session.gaussians))
            if self._is_dirty and time.monotonic() - self._published_at > settings.snapshot_period:
                self._publish()
            self.store.refresh()
        if self._is_dirty and now - self._last_new > QUIET:
            self._publish()
        self._refine_if_idle(now)

    def _refine_if_idle(self, now: float) -> None:
        settings, session = self.settings, self.session
        if not settings.train or session is None or session.num_added < settings.min_keyframes:
            return
        num_new = session.num_added - self._num_refined
        is_idle = settings.refine_idle > 0 and now - self._last_new > settings.refine_idle
        is_many = 0 < settings.refine_every <= num_new
        if num_new > 0 and (is_idle or is_many):
            self._refine(session, self.config.gaussians.iterations, 0.0)
            self._publish()

    def _do(self, job: Job) -> None:
        self.job, self.is_out_of_time = job, False
        finished = self._tried(job) or self._tried(job)
        assert finished is not None  # options are cut down once
        self.job, self.ends_at = None, 0.0
        self.outbox.send(finished)
        self.report_rest()

    def _tried(self, job: Job) -> Finished | None:
        """The end of a job, good or bad; None where memory ran out and another try needs less."""
        work = {Build: self._build, Save: self._save, Reset: self._reset}[type(job)]
        try:
            return work(job)  # type: ignore[operator]
        except Exception as error:
            return None if self._cut_down(error) else self._failed(job, error)

    def _failed(self, job: Job, error: Exception) -> Finished:
        if not isinstance(job, Save) or not isinstance(error, MapError):  # a copy that fails changes nothing here
            self._broke(error)
            release_memory()
        return failed(job, error, self._fields())

    def _cut_down(self, error: Exception) -> bool:
        """Make the options smaller if memory ran out for the first time; whether that was done."""
        if self.is_lean or not is_out_of_memory(error):
            return False
        self.session, self.is_lean = None, True
        self.config = leaner(self.config)
        error.__traceback__ = None  # it holds on to what filled the memory
        release_memory()
        width = self.config.gaussians.image_width
        logger.warning("out of memory (%s): going on at gaussians.image_width=%s", sentence(error), width)
        return True

    def _build(self, job: Build) -> Finished:
        began = time.monotonic()
        self.ends_at = began + job.max_duration if job.max_duration > 0 else 0.0
        if job.from_scratch:
            self._begin_anew()
        self.store.refresh()
        needed = max(job.min_keyframes or self.settings.min_keyframes, 1)
        if len(self.store) < needed:
            text = f"there are {len(self.store)} keyframes, {needed} are needed; move the camera or lower min_keyframes"
            return Finished(job=job.job, error_code="NOT_ENOUGH_KEYFRAMES", message=text, fields=self._fields())
        is_cancelled = False
        try:
            session = self._session()
            self._follow(session)
            session.catch_up(self.store)
            if self._is_dirty:
                self._publish()  # so that there is a map to use whatever becomes of the rest
            if job.refine:
                iterations = self.config.gaussians.iterations if job.iterations < 0 else job.iterations
                self._refine(session, iterations, max(self.ends_at - time.monotonic(), 0.1) if self.ends_at else 0.0)
            self._publish()
        except Cancelled:
            is_cancelled = not self.is_out_of_time
            if self._is_dirty:
                self._publish()
        code = "CANCELED" if is_cancelled else "TIMEOUT" if self._is_late(time.monotonic()) else "OK"
        fields = {**self._fields(), "duration": time.monotonic() - began}
        return built(job, code, fields, is_lean=self.is_lean)

    def _save(self, job: Save) -> Finished:
        if self._is_dirty:
            self._publish()
        if self.published is None:
            raise MapError("there is no map yet to save; build it first, with the action build_map")
        return saved(job, self.directory)

    def _reset(self, job: Reset) -> Finished:
        self._begin_anew()
        self.published = None  # so that the stored keyframes count as new
        return Finished(job=job.job, message=f"the map is being built anew from {len(self.store)} keyframes")

    def _session(self) -> MapSession:
        if self.session is None:
            self.session = MapSession(self.config, self.directory, self.progress)
            if self.session.resume(self.store):
                self._num_refined = self.session.num_refined
        return self.session

    def _follow(self, session: MapSession) -> None:
        """Move with keyframes whose poses were corrected."""
        if session.revision == self.store.revision:
            return
        poses = [entry.world_from_camera for entry in self.store.entries]
        if session.correct(self.store, poses, self.store.revision):
            self._num_refined, self._last_new = 0, time.monotonic()

    def _begin_anew(self) -> None:
        """Forget all but the keyframes."""
        self.session, self._num_refined = None, 0
        forget_session(self.directory)

    def _refine(self, session: MapSession, iterations: int, max_seconds: float) -> None:
        config = session.config
        session.config = updated(config, {"gaussians.iterations": iterations})
        try:
            session.refine(self.store, max_seconds)
        finally:
            session.config = config
        self._num_refined = session.num_added

    def _publish(self) -> None:
        assert self.session is not None
        self.published = self.session.snapshot()
        self._published_at = time.monotonic()

    def _is_late(self, now: float) -> bool:
        return 0 < self.ends_at < now

    def _broke(self, error: Exception) -> None:
        """The session may be half changed: it is made anew from the keyframes."""
        self.session = None
        if not isinstance(error, CclLgsError):
            forget_session(self.directory)  # the fault may lie in what was kept
        self.error, self._retry_at = sentence(error), time.monotonic() + RETRY_PERIOD
        logger.error("%s", self.error, exc_info=error if not isinstance(error, CclLgsError) else None)

    def progress(self, stage: str, done: int, total: int, **figures: float) -> None:
        """Report to the node, and stop the work where it asks for that."""
        now = time.monotonic()
        if self._is_late(now) and stage == "keyframes":  # refine keeps time by itself and then votes to the end
            self.is_out_of_time = True
        self._stop_if_unwanted()
        while self.settings.is_paused:
            if self._reporter.is_due:
                self._report("paused", stage=stage, done=done, total=total)
            time.sleep(PAUSE_PERIOD)
            self._stop_if_unwanted()
        if stage != self._reporter.stage or self._reporter.is_due:
            self.error = ""
            state = "collecting" if stage == "keyframes" and self.job is None else "training"
            shown = {name: figures[name] for name in ("loss", "psnr") if name in figures}
            self._report(state, stage=stage, done=done, total=total, **shown)

    def _stop_if_unwanted(self) -> None:
        is_unwanted = self.inbox.is_cancelled(self.job.job) if self.job else self.inbox.has_job
        if self.inbox.is_stopped or self.is_out_of_time or is_unwanted:
            raise Cancelled

    def report_rest(self) -> None:
        """What state the map is in while nothing is worked on."""
        if not self._reporter.is_due:
            return
        if self.settings.is_paused:
            self._report("paused", message="training is paused; ~/pause_training with false goes on")
        elif self.error:
            self._report("error", message=self.error)
        elif self.published is not None:
            self._report("ready")
        else:
            self._report("waiting", message="" if len(self.store) else "no keyframe has been stored yet")

    def _report(self, state: str, stage: str = "", **figures: object) -> None:
        session = self.session
        if session is not None:
            figures = {"num_gaussians": len(session.gaussians), "num_keyframes": session.num_added, **figures}
        job = self.job.job if self.job else 0
        self._reporter.send(self.published, state=state, stage=stage, job=job, num_stored=len(self.store), **figures)

    def _fields(self) -> dict:
        return fields_of(self.directory, self.published)
