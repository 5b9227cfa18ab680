"""Certificates for tests, by the openssl program."""
import subprocess


def run(*argv):
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


class Certificates:
    """A CA and what it signs, by the openssl program."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={folder.name}", "-keyout", folder / "ca.key", "-out", self.ca)

    def make(self, name, alt):
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        (self.folder / "alt").write_text(f"subjectAltName={alt}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=node",
            "-keyout", key, "-out", request)
        run("openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key",
            "-CAcreateserial", "-extfile", self.folder / "alt", "-out", cert)
        return str(cert), str(key)

    def args(self, pair):
        return ["--tls-cert-file", pair[0], "--tls-key-file", pair[1], "--tls-ca-cert-file", str(self.ca)]
