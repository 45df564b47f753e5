"""moto's S3 on a free port of this machine, one request at a time, with answers that can be made to fail."""

import contextlib
import threading
from dataclasses import dataclass, field

ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>injected</Message></Error>'


@dataclass
class Faults:
    """Answers of these requests are replaced: before the request is carried out, or after."""

    method: str = ""
    status: str = "500 Internal Server Error"
    n_left: int = 0
    carried_out: bool = False
    requests: list = field(default_factory=list)

    def take(self, environ):
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_IF_NONE_MATCH")))
        if self.n_left and environ["REQUEST_METHOD"] == self.method:
            self.n_left -= 1
            return True
        return False


@contextlib.contextmanager
def s3_server(monkeypatch):
    """Serve; yields Faults. The environment is that of a client of this server, with the bucket named bucket."""
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *arguments):
            pass

    moto, faults = DomainDispatcherApplication(create_backend_app), Faults()
    one_at_a_time = threading.Lock()  # moto looks whether a name is taken and writes it in two steps

    def application(environ, start_response):
        with one_at_a_time:
            return answered(environ, start_response)

    def answered(environ, start_response):
        failing = faults.take(environ)
        if failing and not faults.carried_out:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        else:
            answer = moto(environ, (lambda *arguments: None) if failing else start_response)
            if not failing:
                return answer
            list(answer)
        start_response(faults.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(ERROR)))])
        return [ERROR]

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    words = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ENDPOINT_URL": url}
    for name, word in {**words, "ALLOW_HTTP": "true", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", word)
    try:
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
        faults.requests.clear()
        yield faults
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
