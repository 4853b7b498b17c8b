"""clients/php/examples/laravel: a queue connection, in an application of Debian's Laravel, with a real daemon."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .framework import LIBRARIES, Application
from .script import needs_php, needs_sqlite
from .web import SERVERS, serving

_LARAVEL = LIBRARIES / "Illuminate" / "autoload.php"
needs_laravel = pytest.mark.skipif(
    not _LARAVEL.exists(), reason="no php-laravel-framework here: not tested with Laravel"
)
pytestmark = [needs_php, needs_sqlite, needs_laravel]

_HEAD = """
use App\\Jobs\\{Secret, SendReceipt, Step, Through, Unique};
use Illuminate\\Support\\Facades\\{DB, Queue, Schema};
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\\Contracts\\Console\\Kernel::class)->bootstrap();
$id = null;
Queue::getFacadeRoot();
$app['events']->listen(Illuminate\\Queue\\Events\\JobQueued::class, function ($event) use (&$id) { $id = $event->id; });
function say(mixed $value): void { echo "\\n", json_encode($value, JSON_THROW_ON_ERROR), "\\n"; }
"""

_TABLES = """
Schema::create('orders', function ($table) {
    $table->id();
    $table->string('email');
    $table->string('receipt')->nullable();
});
Schema::create('failed_jobs', function ($table) {
    $table->id();
    $table->string('uuid')->unique();
    foreach (['connection', 'queue', 'payload', 'exception'] as $name) {
        $table->text($name);
    }
    $table->timestamp('failed_at')->useCurrent();
});
say(true);
"""


class Shop(Application):
    """The example in an application."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        super().__init__(folder, daemon, "laravel", "app", ["Illuminate/autoload.php"], _HEAD)
        for name in ("bootstrap/cache", "storage/cache"):
            (folder / name).mkdir(parents=True)
        (folder / "database.sqlite").touch()
        assert self.say(_TABLES)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Look into the database."""
        with closing(sqlite3.connect(self.folder / "database.sqlite", timeout=30)) as database:
            return database.execute(query).fetchall()

    def dispatch(self, what: str = "return", kind: str = "Step", more: str = "", **properties: str) -> str:
        """Dispatch a job, outside of any transaction, and return its id. Values of properties are PHP."""
        given = ", ".join(f"{name}: {value}" for name, value in properties.items())
        job = f"(new {kind}(getcwd() . '/steps', '{what}'))->with({given}){more}"
        id: str = self.say(f"dispatch({job}); say($id);")
        return id


@pytest.fixture
def shop(daemon: Daemon, tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", daemon)


def test_a_job_runs_in_another_process_after_its_dispatch(shop: Shop) -> None:
    process, id = shop.say("dispatch(new Step(getcwd() . '/steps')); say([getmypid(), $id]);")
    status = shop.ended(id)
    assert (status["outcome"], status["cold"]) == ("succeeded", None)
    [line] = shop.lines()
    kind, runs_in, attempt = line.split(" ", 2)
    assert (kind, attempt) == ("App\\Jobs\\Step", "attempt 1")
    assert int(runs_in) != process
    assert not os.path.exists(f"/proc/{runs_in}")


def test_jobs_are_forked_from_a_php_that_has_booted_the_application_once(shop: Shop) -> None:
    noted = "file_put_contents(dirname(__DIR__) . '/boots', getmypid() . PHP_EOL, FILE_APPEND);"
    shop.change("bootstrap/app.php", "return $app;", f"{noted} return $app;")
    step = "dispatch(new Step(getcwd() . '/steps')); $ids[] = $id;"
    lines = shop.run_of_one_boot(f"{step} say($ids);", f"foreach (range(1, 20) as $n) {{ {step} }} say($ids);")
    assert len({line.split()[1] for line in lines}) == 20


def test_the_example_hands_its_receipt_off_by_the_commit(shop: Shop) -> None:
    order = shop.say("$request = Illuminate\\Http\\Request::create('/orders', 'POST', ['email' => 'ann@example.org']);"
                     "$answer = $app->make(App\\Http\\Controllers\\OrderController::class)($request);"
                     "say($answer->getData()->order);")  # fmt: skip
    assert order == 1
    eventually(lambda: shop.select("SELECT receipt FROM orders") == [("mailed to ann@example.org",)], 30)
    [job] = shop.jobs()
    assert shop.ended(job["id"])["outcome"] == "succeeded"


@pytest.mark.parametrize("server", SERVERS)
def test_the_example_s_page_does_so_under_a_web_server(server: str, shop: Shop) -> None:
    with serving(server, shop.daemon.variables, shop.folder / "public") as web:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert web.ask("POST", "orders", b"email=ann%40example.org", headers) == (201, '{"order":1}')
        eventually(lambda: shop.select("SELECT receipt FROM orders") == [("mailed to ann@example.org",)], 30)
    [job] = shop.jobs()
    status = shop.ended(job["id"])
    assert (status["outcome"], len(status["attempts"])) == ("succeeded", 1)


def test_a_provider_that_leaves_a_file_open_is_told_and_jobs_run_all_the_same(shop: Shop) -> None:
    shop.change("bootstrap/app.php", "return $app;", "$GLOBALS['kept'] = fopen(__FILE__, 'r'); return $app;")

    def cold() -> str:
        status = shop.ended(shop.dispatch())
        assert status["outcome"] == "succeeded"
        return status["cold"] or ""

    assert f"its bootstrap leaves open: {shop.folder}/bootstrap/app.php" in eventually(cold, 60)


_IN_TRANSACTION = """
DB::beginTransaction();
DB::table('orders')->insert(['email' => 'ann@example.org']);
dispatch(new Step(getcwd() . '/steps'));
Queue::bulk([new Step(getcwd() . '/steps'), new Step(getcwd() . '/steps')]);
$before = array_sum((new Sidecar\\Client)->stats()['states']);
DB::%s();
say([$before, array_sum((new Sidecar\\Client)->stats()['states'])]);
"""


def test_nothing_is_handed_off_before_the_commit(shop: Shop) -> None:
    assert shop.say(_IN_TRANSACTION % "commit") == [0, 3]
    eventually(lambda: len(shop.lines()) == 3, 30)


def test_nothing_is_handed_off_by_a_rollback(shop: Shop) -> None:
    assert shop.say(_IN_TRANSACTION % "rollBack") == [0, 0]


def test_without_after_commit_a_job_is_handed_off_in_spite_of_the_rollback(shop: Shop) -> None:
    shop.change("config/queue.php", "'after_commit' => true", "'after_commit' => false")
    assert shop.say(_IN_TRANSACTION % "rollBack") == [3, 3]


def test_a_delayed_job_waits(shop: Shop) -> None:
    id = shop.dispatch(more="->delay(now()->addHour())")
    status = shop.status(id)
    assert status["state"] == "scheduled"
    assert 3590 < status["due"] - status["submitted"] <= 3601
    soon = shop.dispatch(more="->delay(1)")
    status = shop.ended(soon)
    assert status["attempts"][0]["started"] - status["submitted"] >= 0.9
    assert shop.say("say([Queue::size(), Queue::delayedSize(), Queue::pendingSize(), Queue::size('other')]);") == [
        1,
        1,
        0,
        0,
    ]


def test_several_jobs_at_once_go_in_one_write(shop: Shop) -> None:
    code = """
        $counted = fn () => (new Sidecar\\Client)->stats()['counters']['commits'];
        $queued = 0;
        $app['events']->listen(Illuminate\\Queue\\Events\\JobQueued::class, function () use (&$queued) { $queued++; });
        $jobs = array_map(fn () => (new Step(getcwd() . '/steps'))->delay(3600), range(1, 50));
        $before = $counted();
        Queue::bulk($jobs, '', 'mail');
        say([$queued, $counted() - $before]);
    """
    queued, commits = shop.say(code)
    assert queued == 50
    assert commits <= 3
    assert [job["queue"] for job in shop.jobs()] == ["mail"] * 50


def test_a_job_that_throws_is_tried_as_often_as_it_asks(shop: Shop) -> None:
    id = shop.dispatch("throw", tries="3", backoff="[0]")
    status = shop.ended(id)
    assert (status["outcome"], status["failures"]) == ("failed", 3)
    assert (status["error"]["type"], status["error"]["message"]) == ("RangeException", "out of range")
    assert [line.rpartition(" ")[2] for line in shop.lines()] == ["1", "2", "3", "RangeException"]
    [(connection, queue, exception)] = shop.select("SELECT connection, queue, exception FROM failed_jobs")
    assert (connection, queue) == ("sidecar", "default")
    assert exception.startswith("RangeException: out of range")
    assert "out of range" in (shop.folder / "storage/shop.log").read_text()


def test_a_job_that_names_no_tries_has_the_connection_s(shop: Shop) -> None:
    shop.change("config/queue.php", "'tries' => 3,", "'tries' => 1,")
    assert shop.ended(shop.dispatch("throw"))["failures"] == 1


def test_the_pauses_between_the_tries_are_the_job_s(shop: Shop) -> None:
    status = shop.waits(shop.dispatch("throw", tries="3", backoff="[100, 200]"))
    assert abs(status["in"] - 100) < 0.01


def test_a_job_that_fails_itself_is_not_tried_again(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("fail", tries="5", backoff="[0]"))
    assert (status["outcome"], len(status["attempts"])) == ("failed", 1)
    assert status["error"]["type"] == "DomainException"
    assert shop.lines()[1:] == ["failed: DomainException"]
    assert len(shop.select("SELECT * FROM failed_jobs")) == 1


def test_laravel_s_own_limits_hold(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("throw", tries="9", maxExceptions="2", backoff="[0]"))
    assert (status["outcome"], len(status["attempts"])) == ("failed", 2)
    status = shop.ended(shop.dispatch("throw", retryUntil="time() - 1"))
    assert (status["outcome"], len(status["attempts"])) == ("failed", 1)
    assert status["error"]["type"] == "Illuminate\\Queue\\MaxAttemptsExceededException"
    status = shop.waits(shop.dispatch("throw", retryUntil="time() + 600", backoff="[60]"))
    assert status["failures"] == 1
    assert len(shop.select("SELECT * FROM failed_jobs")) == 2


def test_a_released_job_comes_again_when_it_said(shop: Shop) -> None:
    status = shop.waits(shop.dispatch("release", tries="2"))
    assert abs(status["in"] - 3600) < 0.01
    assert status["error"]["message"] == "released, to be tried again in 3600 s"
    (shop.folder / "steps").unlink()
    assert shop.ended(shop.dispatch("release once", tries="2", backoff="[3600]"))["outcome"] == "succeeded"
    assert [line.rpartition(" ")[2] for line in shop.lines()] == ["1", "2", "done"]
    assert shop.select("SELECT * FROM failed_jobs") == []


def test_a_job_released_too_often_has_failed(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("release at once", tries="2"))
    assert (status["outcome"], len(status["attempts"])) == ("failed", 2)
    assert shop.lines()[-1] == "failed: Illuminate\\Queue\\MaxAttemptsExceededException"
    assert len(shop.select("SELECT * FROM failed_jobs")) == 1


def test_a_job_that_hangs_is_ended_and_among_the_failed_ones(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("hang", tries="2", timeout="1", backoff="[0]"))
    assert (status["outcome"], len(status["attempts"])) == ("timed_out", 2)
    assert shop.lines()[-1] == "failed: Sidecar\\Bridge\\Deadline"
    assert len(shop.select("SELECT * FROM failed_jobs")) == 1


def test_a_job_that_fails_on_timeout_is_not_tried_again(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("hang", tries="5", timeout="1", failOnTimeout="true"))
    assert (status["outcome"], len(status["attempts"])) == ("timed_out", 1)
    assert len(shop.select("SELECT * FROM failed_jobs")) == 1


def test_a_job_that_is_cancelled_is_not_failed(shop: Shop) -> None:
    id = shop.dispatch("hang", tries="1", timeout="600")
    eventually(lambda: shop.lines(), 30)
    shop.daemon.call("cancel", id)
    assert shop.ended(id)["outcome"] == "cancelled"
    assert shop.select("SELECT * FROM failed_jobs") == []


def test_an_interruption_uses_up_no_try(shop: Shop) -> None:
    id = shop.dispatch("hang", tries="1", timeout="600")
    eventually(lambda: shop.lines(), 30)
    shop.daemon.stop(now=True)
    shop.daemon.start()
    eventually(lambda: len(shop.lines()) == 2, 30)
    assert shop.lines()[1].endswith("attempt 2")
    assert shop.select("SELECT * FROM failed_jobs") == []
    shop.daemon.call("cancel", id)
    shop.ended(id)


def test_a_failed_job_can_be_retried_by_artisan(shop: Shop) -> None:
    shop.ended(shop.dispatch("throw", tries="1"))
    artisan = "$app->make(Illuminate\\Contracts\\Console\\Kernel::class)"
    assert shop.say(f"say({artisan}->call('queue:retry', ['id' => ['all']]));") == 0
    eventually(lambda: shop.handed_off() == 2)
    [again, _] = shop.jobs()
    assert shop.ended(again["id"])["failures"] == 1
    assert len(shop.select("SELECT * FROM failed_jobs")) == 1


def test_jobs_of_a_chain_hand_each_other_off(shop: Shop) -> None:
    step = "new Step(getcwd() . '/steps')"
    shop.say(f"Illuminate\\Support\\Facades\\Bus::chain([{step}, {step}, {step}])->dispatch(); say($id);")
    eventually(lambda: len(shop.lines()) == 3, 30)
    assert len({line.split()[1] for line in shop.lines()}) == 3


_BATCHES = """
Schema::create('job_batches', function ($table) {
    $table->string('id')->primary();
    foreach (['name', 'failed_job_ids', 'options'] as $name) {
        $table->text($name)->nullable();
    }
    foreach (['total_jobs', 'pending_jobs', 'failed_jobs', 'created_at', 'cancelled_at', 'finished_at'] as $name) {
        $table->integer($name)->nullable();
    }
});
Illuminate\\Support\\Facades\\Bus::batch(array_map(fn () => new Step(getcwd() . '/steps'), range(1, 5)))->dispatch();
say(true);
"""


def test_a_batch_is_finished_when_all_of_its_jobs_are(shop: Shop) -> None:
    shop.say(_BATCHES)
    query = "SELECT total_jobs, pending_jobs FROM job_batches WHERE finished_at IS NOT NULL"
    eventually(lambda: shop.select(query) == [(5, 0)], 30)
    # SQLite lets one of two that count at once wait, and refuses the other, which is tried again.
    assert len([line for line in shop.lines() if line.endswith("attempt 1")]) == 5


# A payload whose class writes a file when it is unserialized, as any class of an application might.
_FORGED = """
$class = Sidecar\\Bridge\\Laravel\\Runner::class;
$payload = json_encode([
    'displayName' => 'x', 'job' => 'Illuminate\\Queue\\CallQueuedHandler@call', 'uuid' => 'u',
    'data' => ['commandName' => 'App\\Jobs\\Trap', 'command' => 'O:13:"App\\Jobs\\Trap":0:{}'],
]);
$signed = %s;
$options = ['retries' => 2, 'runtime' => ['cwd' => getcwd()]];
$client = new Sidecar\\Client(bootstrap: dirname((new ReflectionClass($class))->getFileName()) . '/bootstrap.php');
say($client->submit($class, ['sidecar', 'default', $payload, $signed], ...$options)->id);
"""


@pytest.mark.parametrize(
    ("signature", "is_opened"),
    [
        ("''", False),
        ("hash_hmac('sha256', $payload, '')", False),
        ("hash_hmac('sha256', $payload, 'another')", False),
        ("hash_hmac('sha256', $payload, config('app.key'))", True),
    ],
)
def test_nothing_is_unserialized_that_the_application_has_not_signed(
    shop: Shop, signature: str, is_opened: bool
) -> None:
    status = shop.ended(shop.say(_FORGED % signature))
    assert (shop.folder / "trapped").exists() == is_opened
    if not is_opened:
        assert (status["outcome"], len(status["attempts"])) == ("failed", 1)
        assert "not signed with the key of this application" in status["error"]["message"]


@pytest.mark.parametrize(
    ("previous", "outcome"), [("base64_encode(str_repeat('k', 32))", "succeeded"), ("'x'", "failed")]
)
def test_an_earlier_key_holds_for_jobs_that_still_wait(shop: Shop, previous: str, outcome: str) -> None:
    key = "'key' => 'base64:' . base64_encode(str_repeat('k', 32))"
    id = shop.dispatch(more="->delay(1)")
    new = f"'key' => 'base64:' . base64_encode(str_repeat('n', 32)), 'previous_keys' => ['base64:' . {previous}]"
    shop.change("config/app.php", key, new)
    assert shop.ended(id)["outcome"] == outcome


def test_an_application_without_a_key_is_told_so(shop: Shop) -> None:
    shop.change("config/app.php", "'key' => 'base64:' . base64_encode(str_repeat('k', 32))", "'key' => ''")
    code = "try { dispatch(new Step('x')); } catch (InvalidArgumentException $error) { say($error->getMessage()); }"
    assert "no key to sign its jobs with" in shop.say(code)


def test_middleware_is_laravel_s(shop: Shop) -> None:
    assert shop.ended(shop.dispatch(through="[new Through]"))["outcome"] == "succeeded"
    assert shop.lines()[0] == "through the middleware"


def test_an_encrypted_job_is_nowhere_in_the_clear(shop: Shop) -> None:
    def is_stored(words: bytes) -> bool:
        return any(words in file.read_bytes() for file in shop.daemon.state.glob("*") if file.is_file())

    assert shop.ended(shop.dispatch("a secret", "Secret"))["outcome"] == "succeeded"
    assert shop.lines()[0].startswith("App\\Jobs\\Secret")
    assert not is_stored(b"a secret")
    shop.dispatch("no secret", "Step")
    assert is_stored(b"no secret")


def test_the_lock_of_a_unique_job_is_held_until_it_has_ended(shop: Shop) -> None:
    first = shop.say("Unique::dispatch(getcwd() . '/steps'); say($id);")
    shop.ended(first)
    second = shop.say("Unique::dispatch(getcwd() . '/steps')->delay(3600); say($id);")
    assert second not in (None, first)
    assert shop.say("Unique::dispatch(getcwd() . '/steps'); say($id);") is None


def test_queue_work_is_told_that_there_is_nothing_to_pop(shop: Shop) -> None:
    code = "try { Queue::pop(); } catch (LogicException $error) { say($error->getMessage()); }"
    assert "run `sidecar serve` in the place of queue:work" in shop.say(code)


def test_a_job_is_stored_when_its_dispatch_returns(shop: Shop) -> None:
    shop.dispatch()
    counters = shop.daemon.call("stats")["counters"]
    assert (counters["stream"], counters["datagrams"]) == (1, 0)  # by stream it has an answer


def test_without_a_daemon_a_job_waits_in_the_spool(shop: Shop) -> None:
    shop.daemon.stop()
    id = shop.dispatch()
    assert shop.lines() == []
    shop.daemon.start()
    assert eventually(lambda: shop.lines(), 30)
    assert shop.ended(id)["outcome"] == "succeeded"


def test_without_a_daemon_dispatch_throws_where_that_is_wanted(shop: Shop) -> None:
    shop.change("config/queue.php", "'tries' => 3,", "'tries' => 3, 'on_unavailable' => 'throw',")
    shop.daemon.stop()
    code = "try { dispatch(new Step('/x')); say('sent'); } catch (Throwable $error) { say($error::class); }"
    assert shop.say(code) == "Sidecar\\Exception\\ConnectionFailed"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("'timeot' => 3", "cannot use option timeot: known are"),
        ("'timeout' => 'soon'", "cannot use option timeout: it is 'soon', give seconds"),
        ("'tries' => '3'", None),
        ("'tries' => 'often'", "cannot use option tries: give a whole number"),
        ("'retries' => 3", "cannot use option retries: give tries"),
        ("'priority' => '5'", None),
        ("'on_unavailable' => 'inline'", 'the framework\'s own "sync"'),
        ("'runtime' => []", "cannot use option runtime here"),
    ],
)
def test_a_wrong_setting_is_named_when_the_connection_is_made(setting: str, said: str | None, shop: Shop) -> None:
    shop.change("config/queue.php", "'timeout' => 60, //", f"{setting}, //")
    code = "try { Queue::connection(); say(null); } catch (Throwable $error) { say($error->getMessage()); }"
    heard = shop.say(code)
    assert heard is None if said is None else said in heard
