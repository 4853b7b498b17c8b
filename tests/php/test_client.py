"""The PHP client from the command line: every way a job and an answer may take."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from ..conftest import StartDaemon
from ..daemon_process import Daemon
from ..waiting import eventually
from .script import Script, needs_php, said

pytestmark = needs_php

PYTHON = f"['kind' => 'python', 'interpreter' => '{sys.executable}']"


def test_a_command_is_handed_off_and_its_end_is_known(shared_daemon: Daemon) -> None:
    code = """
        $job = (new Client)->run(['sh', '-c', 'echo hello; echo $1 >&2', 'sh', 'wörld']);
        $status = $job->wait(20);
        say([$job->ack, $status->state, $status->outcome, $job->result(20), $job->logs(),
             $status->attempts[0]['status'], strlen($job->id), isset($job->id), $status->target]);
    """
    assert said(code, shared_daemon.variables) == [
        "sent", "done", "succeeded", 0, "hello\nwörld\n", 0, 36, True, "sh -c 'echo hello; echo $1 >&2' sh 'wörld'",
    ]  # fmt: skip


def test_a_named_task_gets_its_payload(start_daemon: StartDaemon) -> None:
    daemon = start_daemon(
        config="""
        [task.show]
        argv = ["cat"]
        [task.join]
        call = "os.path:join"
    """
    )
    code = """
        $client = new Client;
        $show = $client->task('show', ['path' => '/ä.jpg', 'sizes' => [1, 2.5, null]], delay: 0);
        $join = $client->prepare(new Sidecar\\Named('join'), ['/srv', 'a.jpg'])->send();
        $empty = $client->task('show');
        $empty->wait(20);
        $show->wait(20);
        say([$show->logs(), $join->result(20), $empty->logs(), $client->task('rm', ['-r', '/'])->wait(20)->reason]);
    """
    *good, reason = said(code, daemon.variables)
    assert good == ['{"path":"/ä.jpg","sizes":[1,2.5,null]}\n', "/srv/a.jpg", "{}\n"]
    assert "no task 'rm' in the daemon's configuration" in reason


def test_a_job_in_python_gets_what_php_gave_it(shared_daemon: Daemon) -> None:
    code = f"""
        $client = (new Client)->options(runtime: {PYTHON});
        $given = [null, true, 7, -2 ** 40, 1.5, 'wörld', new Bytes('b'), "\\xff", [], new Map([]), ['a' => [1]]];
        $job = $client->submit('builtins:repr', [$given], ack: 'stored');
        $named = $client->submit('builtins:dict', ['a' => 1, 'b' => [2]], ack: 'synced');
        say([$job->ack, $job->result(20), $named->ack, $named->result(20)]);
    """
    assert said(code, shared_daemon.variables) == [
        "stored", "[None, True, 7, -1099511627776, 1.5, 'wörld', b'b', b'\\xff', [], {}, {'a': [1]}]",
        "synced", {"a": 1, "b": [2]},
    ]  # fmt: skip


def test_what_a_job_in_python_returns_comes_back(shared_daemon: Daemon) -> None:
    code = f"""
        $job = (new Client)->submit('ast:literal_eval', ["[None, True, -5, 2**63 - 1, 'ä', b'x', {{'k': [1.5]}}]"],
            runtime: {PYTHON});
        say($job->result(20));
    """
    assert said(code.replace("2**63 - 1", str(2**63 - 1)), shared_daemon.variables) == [
        None, True, -5, 2**63 - 1, "ä", "x", {"k": [1.5]},
    ]  # fmt: skip


def test_how_a_job_failed_is_an_exception_that_says_it(shared_daemon: Daemon) -> None:
    code = f"""
        function failure(callable $do): array {{
            try {{ $do(); }} catch (JobFailed $error) {{
                return [$error->outcome, $error->type, $error->getMessage(), (bool) $error->details];
            }}
            return [];
        }}
        $client = new Client;
        $command = $client->run(['sh', '-c', 'exit 3']);
        $call = $client->submit('operator:truediv', [1, 0], runtime: {PYTHON});
        $late = $client->run(['sleep', '60'], timeout: 0.2, grace: 1);
        $jobs = [$command, $call, $late];
        say([...array_map(fn ($job) => failure(fn () => $job->result(20)), $jobs),
             ...array_map(fn ($job) => $job->id, $jobs)]);
    """
    command, call, late, *ids = said(code, shared_daemon.variables)
    assert command == ["failed", "ExitStatus", f"job {ids[0]} failed: ExitStatus: ended with status 3", False]
    assert call == ["failed", "ZeroDivisionError", f"job {ids[1]} failed: ZeroDivisionError: division by zero", True]
    assert late[0] == "timed_out"
    assert late[2].startswith(f"job {ids[2]} timed out")


def test_a_job_may_be_asked_about_by_its_id_in_another_process(shared_daemon: Daemon) -> None:
    id = said("say((new Client)->run(['true'])->id);", shared_daemon.variables)
    code = """
        $client = new Client;
        $id = $_SERVER['ID'];
        say([$client->wait($id, 20)->outcome, $client->status($id)->id, $client->result($id), $client->job($id)->ack]);
    """
    assert said(code, {**shared_daemon.variables, "ID": id}) == ["succeeded", id, 0, None]


def test_an_id_is_read_without_any_extension() -> None:
    id = "019ab1c2-0000-7000-8000-000000000001"
    assert said(f"say((new Client())->job('{id.upper()}')->id);", {}, ("-n",)) == id


def test_a_prepared_job_has_its_id_before_anything_is_sent(shared_daemon: Daemon) -> None:
    code = """
        $client = new Client;
        $prepared = $client->prepare(['true'], timeout: 20);
        $unknown = '';
        try { $client->status($prepared->id); } catch (Rejected $error) { $unknown = $error->reason; }
        $first = $prepared->send();
        $second = $prepared->send();
        say([$unknown, $first->id === $prepared->id, $second->id === $prepared->id, count($first->wait(20)->attempts)]);
    """
    assert said(code, shared_daemon.variables) == ["not_found", True, True, 1]


def test_a_running_job_is_cancelled(shared_daemon: Daemon) -> None:
    code = """
        $job = (new Client)->run(['sleep', '60'], grace: 1);
        while ($job->status()->state->value !== 'running') { usleep(10_000); }
        $late = '';
        try { $job->wait(0.1); } catch (TimedOut $error) { $late = $error->getMessage(); }
        $job->cancel();
        say([$job->wait(20)->outcome, str_contains($late, 'it is running')]);
    """
    assert said(code, shared_daemon.variables) == ["cancelled", True]


def test_all_options_arrive(shared_daemon: Daemon, tmp_path: Path) -> None:
    code = f"""
        $client = (new Client)->options(queue: 'php', priority: 3);
        $job = $client->run(['sh', '-c', 'cat; echo " $COLOUR $PWD"'], stdin: "\\xffin", env: ['COLOUR' => 'red'],
            cwd: '{tmp_path}', timeout: 20, grace: 1.5, retries: 2, backoff: ['base' => 0.1, 'cap' => 1], expires: 60,
            delay: 0.01, priority: 4, ack: 'stored');
        $status = $job->wait(20);
        $at = $client->run(['true'], run_at: new DateTimeImmutable('2035-01-01T00:00:00Z'), ack: 'stored');
        $due = $at->status()->all['due'];
        $at->cancel();
        $expires = $status->all['expires'] > microtime(true);
        say([bin2hex($job->logs()), $status->queue, $status->priority, $expires, $due]);
    """
    output, *rest = said(code, shared_daemon.variables)
    assert bytes.fromhex(output) == b"\xffin red " + os.fsencode(tmp_path) + b"\n"
    assert rest == ["php", 4, True, 2051222400]


def test_what_is_wrong_is_said_at_the_caller_s_line(shared_daemon: Daemon) -> None:
    code = """
        $client = new Client;
        $messages = [];
        $wrong = [
            fn () => $client->submit('\\\\Acme\\\\Mail::send'),
            fn () => $client->submit('rm -rf /'),
            fn () => $client->submit(fn () => 1),
            fn () => $client->run([]),
            fn () => $client->run(['ls', 1]),
            fn () => $client->run(['ls'], timeout: -1),
            fn () => $client->run(['ls'], colour: 'red'),
            fn () => $client->submit('f', bootstrap: '/a.php'),
            fn () => $client->run(['ls'], delay: 1, run_at: 5),
            fn () => $client->run(['ls'], at_most_once: true, retries: 1),
            fn () => $client->run(['ls'], env: ['A=' => 'x']),
            fn () => $client->submit('f', [new DateTime]),
            fn () => $client->job('nonsense'),
            fn () => $client->submit('time:time', runtime: ['kind' => 'python'], on_unavailable: 'inline'),
            fn () => $client->task('t', [], timeout: 3),
            fn () => $client->options(retries: 3)->task('t'),
            fn () => $client->task('t', on_unavailable: 'inline'),
            fn () => $client->task('t', [7 => 'x']),
            fn () => $client->task('t', ['a' => [['b' => 1, 7 => 2]]]),
        ];
        foreach ($wrong as $do) {
            try { $do(); $messages[] = 'taken'; }
            catch (InvalidArgumentException $error) { $messages[] = $error->getMessage(); }
        }
        say($messages);
    """
    messages = said(code, shared_daemon.variables)
    for message, part in zip(
        messages,
        ["without a leading backslash", "rm -rf /", "cannot submit a closure", "a list of strings", "a list of strings",
         "option timeout: it is -1", "option colour: known are", "bootstrap: that is said once, new Client(bootstrap",
         "delay or run_at", "at_most_once forbids", "names without '='",
         "args[0]: it is DateTime", "as a job id", "cannot run inline", "task t with timeout", "task t with retries",
         "only the daemon knows", "payload has the key 7", "payload[a][0] has the key 7"],
        strict=True,
    ):  # fmt: skip
        assert part in message


def test_the_environment_can_ask_for_a_stronger_ack(shared_daemon: Daemon) -> None:
    code = "$job = (new Client)->run(['true']); say($job->ack);"
    assert said(code, {**shared_daemon.variables, "SIDECAR_ACK": "stored"}) == "stored"


def test_an_oversize_job_takes_the_stream(shared_daemon: Daemon) -> None:
    code = """
        $job = (new Client)->run(['wc', '-c'], stdin: str_repeat('x', 1_000_000));
        $job->wait(20);
        say([$job->ack, trim($job->logs())]);
    """
    assert said(code, shared_daemon.variables) == ["stored", "1000000"]


def test_a_job_over_the_limit_is_rejected(shared_daemon: Daemon) -> None:
    code = """
        try { (new Client)->run(['cat'], stdin: str_repeat('x', 9_000_000)); }
        catch (Rejected $error) { say($error->reason); }
    """
    assert said(code, shared_daemon.variables) == "too_large"


def test_nobody_there_goes_by_the_policy(tmp_path: Path) -> None:
    code = """
        $answers = [];
        foreach (['throw', 'drop', 'spool'] as $policy) {
            try { $answers[] = (new Client)->run(['true'], on_unavailable: $policy)->ack; }
            catch (ConnectionFailed $error) { $answers[] = $error->getMessage(); }
        }
        say($answers);
    """
    env = {"SIDECAR_RUNTIME_DIR": str(tmp_path / "run"), "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    thrown, dropped, spooled = said(code, env)
    assert "no handoff.sock" in thrown
    assert dropped == "dropped"
    assert "cannot spool job" in spooled


def test_without_a_daemon_a_job_may_run_here(tmp_path: Path) -> None:
    code = f"""
        class Work {{
            public static array $told = [];
            public function add(int $a, int $b): void {{ self::$told[] = $a + $b; }}
            public function fail(): void {{ throw new LogicException('no'); }}
            public function failed(Throwable $error): void {{ self::$told[] = $error->getMessage(); }}
        }}
        $client = (new Client)->options(on_unavailable: 'inline');
        $acks = [
            $client->submit('Work::add', [1, 'b' => 2])->ack,
            $client->submit('Work::fail')->ack,
            $client->run(['sh', '-c', 'cat > $OUT'], stdin: 'in', env: ['OUT' => '{tmp_path}/out'])->ack,
        ];
        say([$acks, Work::$told]);
    """
    env = {"SIDECAR_RUNTIME_DIR": str(tmp_path / "run"), "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    assert said(code, env, ("-d", f"error_log={tmp_path}/log")) == [["inline"] * 3, [3, "no"]]
    assert (tmp_path / "out").read_text() == "in"
    assert "failed, run inline: LogicException: no" in (tmp_path / "log").read_text()


def test_what_runs_here_is_loaded_as_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "load.php").write_text(f"<?php function work() {{ touch('{tmp_path}/worked'); }}")
    code = f"say((new Client(bootstrap: '{tmp_path}/load.php', on_unavailable: 'inline'))->submit('work')->ack);"
    env = {"SIDECAR_RUNTIME_DIR": str(tmp_path / "run"), "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    assert said(code, env) == "inline"
    assert (tmp_path / "worked").exists()


def test_what_has_a_name_may_be_given_as_php_names_it(shared_daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "load.php").write_text(
        "<?php namespace A; function f() { return 'f'; } class C { static function m() { return 'm'; } }"
    )
    code = f"""
        require '{tmp_path}/load.php';
        $client = new Client(bootstrap: '{tmp_path}/load.php');
        $calls = [A\\f(...), A\\C::m(...), ['A\\C', 'm'], 'A\\C::m'];
        say(array_map(fn ($call) => $client->submit($call)->result(20), $calls));
    """
    assert said(code, shared_daemon.variables) == ["f", "m", "m", "m"]


def test_a_path_that_is_not_absolute_is_refused_at_once(tmp_path: Path) -> None:
    code = """
        try { new Client(bootstrap: 'load.php'); }
        catch (InvalidArgumentException $error) { say($error->getMessage()); }
    """
    assert "bootstrap: it is 'load.php', give an absolute path" in said(code, {})


def test_who_waits_in_vain_is_told_why(shared_daemon: Daemon, tmp_path: Path) -> None:
    code = f"""
        $job = (new Client(bootstrap: '{tmp_path}/gone.php'))->submit('work');
        try {{ $job->wait(3); }} catch (TimedOut $error) {{ say($error->getMessage()); }}
        $job->cancel();
    """
    message = said(code, shared_daemon.variables)
    assert "it is queued, since" in message and "gone.php is not there" in message


def test_a_spooled_job_is_run_by_the_next_daemon(start_daemon: StartDaemon) -> None:
    daemon = start_daemon()
    daemon.stop()
    made = said("$job = (new Client)->run(['true']); say([$job->ack, $job->id]);", daemon.variables)
    assert made[0] == "spooled"
    daemon.start()
    env = {**daemon.variables, "ID": made[1]}
    assert said("say((new Client)->wait($_SERVER['ID'], 20)->outcome);", env) == "succeeded"


def test_a_daemon_that_does_not_read_costs_no_more_than_the_deadline(daemon: Daemon) -> None:
    pid = daemon.call("ping")["pids"]["daemon"]
    code = """
        $client = (new Client)->options(deadline: 1.5);
        $longest = 0;
        $acks = [];
        for ($count = 0; $count < 13; $count++) {
            $before = hrtime(true);
            $acks[] = $client->run(['true'])->ack;
            $longest = max($longest, (hrtime(true) - $before) / 1e9);
        }
        say([array_count_values($acks), $longest]);
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        acks, longest = said(code, daemon.variables)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert acks["sent"] >= 10  # what the socket's queue holds
    assert acks["spooled"] == 13 - acks["sent"]
    assert longest >= 1.49
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 13)
    assert longest < 2.9  # there is one deadline, not one for the socket and another for the stream


def test_a_late_answer_is_never_taken_for_the_next_one(daemon: Daemon) -> None:
    pid = daemon.call("ping")["pids"]["daemon"]
    code = """
        $client = (new Client)->options(ack: 'stored', on_unavailable: 'throw');
        $first = $client->run(['true']);
        say(0);
        fgets(STDIN);
        $late = $client->prepare(['true'], deadline: 0.2);
        try { $late->send(); } catch (TimedOut $error) { say('late'); }
        fgets(STDIN);
        say([$first->status()->id === $first->id, $late->send()->id === $late->id,
             $client->status($first->id)->id === $first->id]);
    """
    script = Script(code, daemon.variables)
    script.heard()
    os.kill(pid, signal.SIGSTOP)
    try:
        script.go()
        assert script.heard() == "late"
    finally:
        os.kill(pid, signal.SIGCONT)
    script.go()
    assert script.heard() == [True, True, True]
    script.close()


def test_sockets_that_were_replaced_are_opened_anew(daemon: Daemon) -> None:
    code = """
        $client = new Client;
        $stream = $client->options(ack: 'stored');
        for ($round = 0; $round < 3; $round++) {
            say([$client->run(['true'])->ack, $stream->run(['true'])->ack]);
            fgets(STDIN);
        }
        say(0);
    """
    script = Script(code, daemon.variables)
    assert script.heard() == ["sent", "stored"]
    for _ in range(2):
        daemon.stop()
        daemon.start()
        script.go()
        assert script.heard() == ["sent", "stored"]
    script.go()
    script.heard()
    script.close()
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 6)


def test_several_calls_go_in_one_write_over_a_restart_too(daemon: Daemon) -> None:
    code = f"""
        $client = (new Client)->options(runtime: {PYTHON}, deadline: 20, on_unavailable: 'throw');
        $calls = array_map(fn ($number) => ['operator:neg', [$number]], range(1, 300));
        for ($round = 0; $round < 2; $round++) {{
            $jobs = $client->submitAll($calls);
            say([count(array_filter($jobs, fn ($job) => $job->ack === 'stored')), $jobs[299]->result(20)]);
            fgets(STDIN);
        }}
        try {{ $client->submitAll([['operator:neg', [1]], ['operator:neg', [str_repeat('x', 9_000_000)]]]); }}
        catch (Rejected $error) {{ say($error->reason); }}
    """
    script = Script(code, daemon.variables)
    assert script.heard() == [300, -300]
    os.kill(daemon.call("ping")["pids"]["daemon"], signal.SIGKILL)
    eventually(lambda: daemon.call("ping"))
    script.go()
    assert script.heard() == [300, -300]
    script.go()
    assert script.heard() == "too_large"
    script.close()


def test_a_wait_goes_on_over_a_restart_of_the_daemon(daemon: Daemon) -> None:
    code = """
        $command = ['sh', '-c', 'until [ -e "$GO" ]; do sleep 0.02; done'];
        $job = (new Client)->run($command, env: ['GO' => $_SERVER['GO']]);
        while ($job->status()->state->value !== 'running') { usleep(10_000); }
        say(0);
        say($job->wait(30)->outcome);
    """
    go = daemon.folder / "go"
    script = Script(code, {**daemon.variables, "GO": str(go)})
    script.heard()
    os.kill(daemon.call("ping")["pids"]["daemon"], signal.SIGKILL)
    eventually(lambda: daemon.call("ping"))
    go.touch()
    assert script.heard() == "succeeded"
    script.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another uid")
def test_who_may_not_is_told_so_and_nothing_is_spooled(daemon: Daemon) -> None:
    code = """
        posix_setgid(12345); posix_setuid(12345);
        try { say((new Client)->run(['true'])->ack); }
        catch (Rejected $error) { say([$error->reason, $error->getMessage()]); }
    """
    reason, message = said(code, daemon.variables)
    assert reason == "not_allowed"
    assert "its permissions keep user 12345 out" in message
    # The socket is for its owner alone, so there is no group to be added to.
    assert message.endswith("do it as its owner, or run a `sidecar serve` of your own")


def test_a_forked_child_opens_its_own_connection(daemon: Daemon) -> None:
    code = """
        $client = (new Client)->options(ack: 'stored');
        $first = $client->run(['true']);
        $pid = pcntl_fork();
        if ($pid === 0) {
            for ($count = 0; $count < 20; $count++) { $client->run(['true']); }
            exit(0);
        }
        for ($count = 0; $count < 20; $count++) { $client->run(['true']); }
        pcntl_waitpid($pid, $status);
        say([$status, $first->wait(20)->outcome]);
    """
    assert said(code, daemon.variables) == [0, "succeeded"]
    eventually(lambda: daemon.call("stats")["outcomes"].get("succeeded") == 41)


def test_deferred_work_runs_after_the_script_in_order_whatever_one_of_them_throws(tmp_path: Path) -> None:
    code = """
        register_shutdown_function(fn () => say('earlier shutdown function'));
        Deferred::add(fn () => say('first'));
        Deferred::add(function () {
            Deferred::add(fn () => say('added meanwhile'));
            throw new LogicException('thrown');
        });
        Deferred::add(fn () => say('third'));
        register_shutdown_function(fn () => say('later shutdown function'));
        say('script');
    """
    script = Script(code, {}, ("-d", f"error_log={tmp_path}/log"))
    assert [script.heard() for _ in range(6)] == [
        "script", "earlier shutdown function", "first", "third", "added meanwhile", "later shutdown function",
    ]  # fmt: skip
    script.close()
    assert "deferred work failed: LogicException: thrown in" in (tmp_path / "log").read_text()


def test_deferred_work_that_is_run_by_hand_throws(tmp_path: Path) -> None:
    code = """
        $ran = [];
        Deferred::add(function () use (&$ran) { $ran[] = 1; throw new LogicException('thrown'); });
        Deferred::add(function () use (&$ran) { $ran[] = 2; });
        try { Deferred::run(); } catch (LogicException $error) { $ran[] = $error->getMessage(); }
        Deferred::run();
        say([$ran, Response::finish()]);
    """
    assert said(code, {}) == [[1, 2, "thrown"], "none"]


def test_the_function_is_a_short_way(shared_daemon: Daemon) -> None:
    code = f"say(Sidecar\\submit('operator:add', [1, 2], runtime: {PYTHON}, timeout: 20)->result(20));"
    assert said(code, shared_daemon.variables) == 3


@pytest.mark.parametrize(
    "answer",
    [
        lambda number: [1, None, None, {"ack": "synced"}],  # without a number there are errors only
        lambda number: [1, number + 1, None, {"ack": "synced"}],
        lambda number: [1, number, None, None],
        lambda number: [1, number, None, {"ack": 5}],
    ],
)
@pytest.mark.parametrize("call", ["run(['true'])", "submitAll([['strlen', ['x']]])"])
def test_no_answer_is_made_up(tmp_path: Path, answer: Callable[[int], list[object]], call: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        code = f"""
            $client = (new Client)->options(ack: 'stored', deadline: 1.0, on_unavailable: 'throw');
            try {{ $client->{call}; say('taken'); }} catch (SidecarException $error) {{ say($error::class); }}
        """
        script = Script(code, {"SIDECAR_RUNTIME_DIR": str(tmp_path)})
        connection, _ = listener.accept()
        with connection:
            size = int.from_bytes(connection.recv(4), "big")
            number = msgpack.unpackb(connection.recv(size, socket.MSG_WAITALL))[1]
            reply = msgpack.packb(answer(number))
            connection.sendall(len(reply).to_bytes(4, "big") + reply)
            assert script.heard().rpartition("\\")[2] in ("TimedOut", "ProtocolViolation")
    script.close()


def test_how_many_jobs_are_where_can_be_asked(daemon: Daemon) -> None:
    code = """
        $client = new Client(queue: 'mail');
        foreach ([0, 3600, 3600] as $delay) { $jobs[] = $client->run(['true'], delay: $delay, ack: 'stored'); }
        $jobs[0]->wait(20);
        say([$client->stats()['queues'], $client->stats()['outcomes']['succeeded']]);
    """
    assert said(code, daemon.env) == [{"mail": {"scheduled": 2, "queued": 0, "running": 0}}, 1]
