# SPDX-License-Identifier: Apache-2.0
"""The program of the worker process; worker_process.py starts it with the number of an open connection."""

import logging
import os
import signal
import sys
from multiprocessing.connection import Connection

from ccl_lgs_ros.errors import CclLgsError
from ccl_lgs_ros.executable import advice
from ccl_lgs_ros.ros.priority import stand_back
from ccl_lgs_ros.ros.worker_inbox import Inbox, Outbox, SendingHandler
from ccl_lgs_ros.ros.worker_messages import Report, Settings


def main() -> int:
    """Serve the node at the other end of the connection until it is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the node decides when the worker ends
    connection = Connection(int(sys.argv[1]))
    settings: Settings = connection.recv()
    stand_back(settings.niceness)
    outbox = Outbox(connection)
    handler = SendingHandler(outbox)
    root = logging.getLogger("ccl_lgs_ros")
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    inbox = Inbox(connection, settings)
    try:
        from ccl_lgs_ros.ros.map_worker import MapWorker  # imports torch

        worker = MapWorker(inbox, outbox)
        worker.report_rest()
        worker.run()
    except (BrokenPipeError, EOFError):
        return 0
    except ModuleNotFoundError as error:
        outbox.send(Report(state="error", message=advice("training_node", error)))
        return 2
    except CclLgsError as error:
        outbox.send(Report(state="error", message=str(error)))
        return 2
    return 0


if __name__ == "__main__":
    os._exit(main())  # all is published; taking torch and its threads apart would take seconds
