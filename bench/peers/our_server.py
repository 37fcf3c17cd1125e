"""Our side: talks to the program moevit_peers_ours, whose source says what it answers."""
import json
import subprocess


class Ours:
    """The server moevit_peers_ours."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.build = self.process.stderr.readline().strip()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended: {self.process.stderr.read().strip()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def run(self, iterations):
        return self.ask(do="run", iterations=iterations)["ms"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
