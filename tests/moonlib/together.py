"""Several clients at once."""
import threading


def together(*functions):
    """Runs them in threads; the first exception is raised here."""
    failed = []

    def guarded(function):
        try:
            function()
        except BaseException as e:  # pylint: disable=broad-except
            failed.append(e)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def client_of(node, work, timeout=30):
    def run():
        with node.client(timeout=timeout) as c:
            work(c)
    return run
