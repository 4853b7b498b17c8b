"""clients/php/examples/symfony: a Messenger transport, in an application of Debian's Symfony, with a real daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ..daemon_process import Daemon
from ..waiting import eventually
from .framework import LIBRARIES, Application
from .script import needs_php, needs_sqlite
from .web import SERVERS, serving

_LIBRARIES = [
    "Symfony/Bundle/FrameworkBundle/autoload.php",
    "Symfony/Component/Messenger/autoload.php",
    "Doctrine/DBAL/autoload.php",
    "Doctrine/Persistence/autoload.php",
    "Symfony/Component/Dotenv/autoload.php",
]
_MISSING = [name for name in _LIBRARIES if not (LIBRARIES / name).exists()]
needs_symfony = pytest.mark.skipif(bool(_MISSING), reason=f"no {_MISSING[:1]} here: not tested with Symfony")
pytestmark = [needs_php, needs_sqlite, needs_symfony]

_HEAD = """
use App\\Message\\{SendReceipt, Step};
use Symfony\\Bundle\\FrameworkBundle\\Console\\Application;
use Symfony\\Component\\Console\\{Input\\StringInput, Output\\BufferedOutput};
use Symfony\\Component\\HttpFoundation\\Request;
use Symfony\\Component\\Messenger\\{Envelope, MessageBusInterface};
use Symfony\\Component\\Messenger\\Stamp\\{DelayStamp, TransportMessageIdStamp};
require 'vendor/autoload.php';
$kernel = new App\\Kernel('prod', false);
$kernel->boot();
function say(mixed $value): void { echo "\\n", json_encode($value, JSON_THROW_ON_ERROR), "\\n"; }
function dispatch(object $message, object ...$stamps): string {
    $bus = $GLOBALS['kernel']->getContainer()->get('messenger.default_bus');
    return $bus->dispatch($message, $stamps)->last(TransportMessageIdStamp::class)->getId();
}
function console(string $command): array {
    $application = new Application($GLOBALS['kernel']);
    $application->setAutoExit(false);
    $output = new BufferedOutput();
    return [$application->run(new StringInput("{$command} --no-interaction --no-ansi"), $output), $output->fetch()];
}
"""

_DSN = "sidecar://default?queue=mail&timeout=30&retries=3"


class Shop(Application):
    """The example in an application."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        super().__init__(folder, daemon, "symfony", "src", _LIBRARIES, _HEAD)
        self.change("config/packages/messenger.yaml", "async\n", "async\n            App\\Message\\Step: async\n")

    def dispatch(self, what: str = "return", *stamps: str) -> str:
        """Dispatch a message, and return its job's id."""
        id: str = self.say(f"say(dispatch({', '.join([f'new Step({what!r})', *stamps])}));")
        return id

    def options(self, options: str) -> None:
        """Replace those of the transport."""
        self.change("config/packages/messenger.yaml", _DSN, f"sidecar://default?{options}")

    def failed(self) -> str:
        """Return what Messenger shows of its failure transport."""
        status, shown = self.say("say(console('messenger:failed:show'));")
        assert status == 0, shown
        return str(shown)


@pytest.fixture
def shop(daemon: Daemon, tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", daemon)


def test_a_message_is_handled_in_another_process_after_its_dispatch(shop: Shop) -> None:
    id, process = shop.say("say([dispatch(new Step()), getmypid()]);")
    status = shop.ended(id)
    assert (status["outcome"], status["queue"], status["cold"]) == ("succeeded", "mail", None)
    [line] = shop.lines()
    assert line.endswith(" handled 1 attempt 1")
    assert int(line.split()[0]) != process
    assert not os.path.exists(f"/proc/{line.split()[0]}")


@pytest.mark.parametrize(
    ("secret", "is_opened"), [("''", False), ("'another'", False), ("'none'", True)], ids=["empty", "wrong", "right"]
)
def test_nothing_is_unserialized_that_the_application_has_not_signed(shop: Shop, secret: str, is_opened: bool) -> None:
    code = f"""
        $class = Sidecar\\Bridge\\Symfony\\Consumer::class;
        $trap = 'O:16:"App\\Message\\Trap":0:{{}}';
        $message = Sidecar\\Msgpack::encode(['body' => addslashes($trap), 'headers' => []]);
        $signed = hash_hmac('sha256', $message, {secret});
        $env = ['APP_ENV' => 'prod', 'APP_DEBUG' => '0', 'KERNEL_CLASS' => App\\Kernel::class];
        $options = ['retries' => 2, 'runtime' => ['cwd' => getcwd(), 'env' => $env]];
        $place = dirname((new ReflectionClass($class))->getFileName());
        $client = new Sidecar\\Client(bootstrap: "{{$place}}/bootstrap.php");
        say($client->submit($class, ['async', new Sidecar\\Bytes($message), $signed], ...$options)->id);
    """
    status = shop.ended(shop.say(code))
    assert (shop.folder / "trapped").exists() == is_opened
    if not is_opened:
        assert (status["outcome"], len(status["attempts"])) == ("failed", 1)
        assert "not signed with the key of this application" in status["error"]["message"]


def test_an_application_without_a_secret_is_told_so(shop: Shop) -> None:
    shop.change("config/packages/framework.yaml", "secret: none", "secret: ''")
    code = "try { dispatch(new Step()); } catch (Throwable $error) { say($error->getMessage()); }"
    assert "no key to sign its jobs with" in shop.say(code)


def test_each_message_has_a_process_forked_from_one_that_has_booted_the_kernel(shop: Shop) -> None:
    shop.change(
        "src/Kernel.php",
        "    use MicroKernelTrait;\n",
        """    use MicroKernelTrait;

    public function boot(): void
    {
        parent::boot();
        file_put_contents(dirname(__DIR__) . '/boots', getmypid() . "\\n", FILE_APPEND);
    }
""",
    )
    step = "$ids[] = dispatch(new Step());"
    lines = shop.run_of_one_boot(f"{step} say($ids);", f"foreach (range(1, 20) as $n) {{ {step} }} say($ids);")
    assert len({line.split()[0] for line in lines}) == 20
    assert all(" handled 1 " in line for line in lines)  # each with a container as the boot left it


def test_the_page_of_the_example_answers_and_the_receipt_is_sent(shop: Shop) -> None:
    code = """
        $request = Request::create('/orders', 'POST', ['order' => '7', 'email' => 'ann@example.org']);
        $answer = $kernel->handle($request);
        say([$answer->getStatusCode(), json_decode($answer->getContent())->job]);
    """
    status, id = shop.say(code)
    assert status == 202
    assert shop.ended(id)["outcome"] == "succeeded"
    assert "\n".join(shop.lines("7")) == "To: ann@example.org\nYour order is number 7."


@pytest.mark.parametrize("server", SERVERS)
def test_it_does_under_a_web_server(server: str, shop: Shop) -> None:
    with serving(server, shop.daemon.variables, shop.folder / "public") as web:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = web.ask("POST", "orders", b"order=7&email=ann%40example.org", headers)
        assert status == 202, answer
        assert shop.ended(json.loads(answer)["job"])["outcome"] == "succeeded"
    assert shop.lines("7")[0] == "To: ann@example.org"


def test_a_job_reads_the_env_file_of_the_project(shop: Shop) -> None:
    shop.change("config/services.yaml", "'%kernel.project_dir%'\n", "'%env(OUTBOX)%'\n")
    (shop.folder / "outbox").mkdir()
    (shop.folder / ".env").write_text(f"OUTBOX={shop.folder}/outbox\n")
    assert shop.ended(shop.dispatch())["outcome"] == "succeeded"
    assert len(shop.lines("outbox/steps")) == 1


def test_a_delay_is_honoured(shop: Shop) -> None:
    status = shop.status(shop.dispatch("return", "new DelayStamp(3600000)"))
    assert status["state"] == "scheduled"
    assert abs(status["due"] - status["submitted"] - 3600) < 5
    status = shop.ended(shop.dispatch("return", "new DelayStamp(1000)"))
    assert status["attempts"][0]["started"] - status["submitted"] >= 0.9


def test_what_a_handler_throws_is_tried_again_and_then_given_to_the_failure_transport(shop: Shop) -> None:
    shop.options("retries=2&backoff[]=0")
    status = shop.ended(shop.dispatch("throw"))
    assert (status["outcome"], status["failures"]) == ("failed", 3)
    assert (status["error"]["type"], status["error"]["message"]) == ("RangeException", "out of range")
    assert [line.rpartition(" ")[2] for line in shop.lines()] == ["1", "2", "3"]
    assert shop.handed_off() == 1  # Messenger's own retries, which every transport has, did not begin
    shown = shop.failed()
    assert "App\\Message\\Step" in shown
    assert "out of range" in shown


def test_a_transport_that_says_nothing_of_retries_has_messenger_s_three(shop: Shop) -> None:
    shop.options("backoff[]=0")
    assert shop.ended(shop.dispatch("throw"))["failures"] == 4


def test_what_is_unrecoverable_is_not_tried_again(shop: Shop) -> None:
    status = shop.ended(shop.dispatch("no use"))
    assert (status["outcome"], len(status["attempts"])) == ("failed", 1)
    kind = "Symfony\\Component\\Messenger\\Exception\\UnrecoverableMessageHandlingException"
    assert (status["error"]["type"], status["error"]["message"]) == (kind, "no use")
    assert "no use" in shop.failed()
    status = shop.ended(shop.say("say(dispatch(new SendReceipt(7, 'ann')));"))
    assert (len(status["attempts"]), status["error"]["message"]) == (1, "ann is no address")


def test_what_is_recoverable_is_tried_again_no_more_often_than_the_transport_says(shop: Shop) -> None:
    shop.options("retries=1&backoff[]=0")
    assert shop.ended(shop.dispatch("recoverable"))["failures"] == 2
    assert shop.handed_off() == 1
    assert "not yet" in shop.failed()


def test_a_failed_message_is_handled_by_messenger_s_own_retry(shop: Shop) -> None:
    shop.options("retries=0")
    shop.ended(shop.dispatch("throw"))
    shop.change("src/MessageHandler/StepHandler.php", "throw new \\RangeException('out of range')", "0")
    status, shown = shop.say("say(console('messenger:failed:retry 1 --force'));")
    assert status == 0, shown
    assert len(shop.lines()) == 2
    assert "Step" not in shop.failed()
    assert shop.handed_off() == 1


def test_a_message_whose_handler_hangs_is_ended_and_given_to_the_failure_transport(shop: Shop) -> None:
    shop.options("timeout=1&retries=1&backoff[]=0")
    status = shop.ended(shop.dispatch("hang"))
    assert (status["outcome"], len(status["attempts"])) == ("timed_out", 2)
    assert "the job did not end in time" in shop.failed()


def test_messenger_is_told_what_happens_to_a_message(shop: Shop) -> None:
    listener = shop.folder / "src" / "Listener.php"
    listener.write_text("""<?php
namespace App;
use Symfony\\Component\\EventDispatcher\\EventSubscriberInterface;
use Symfony\\Component\\Messenger\\Event;
use Symfony\\Component\\Messenger\\Stamp\\TransportMessageIdStamp;
final class Listener implements EventSubscriberInterface
{
    public static function getSubscribedEvents(): array
    {
        return array_fill_keys([
            Event\\WorkerMessageFailedEvent::class,
            Event\\WorkerMessageHandledEvent::class,
            Event\\WorkerMessageReceivedEvent::class,
        ], 'on');
    }
    public function on(object $event): void
    {
        $line = substr(strrchr($event::class, '\\\\'), 1) . ' ' . $event->getReceiverName();
        $id = $event->getEnvelope()->last(TransportMessageIdStamp::class)->getId();
        file_put_contents(dirname(__DIR__) . '/events', "{$line} {$id}\\n", FILE_APPEND);
    }
}
""")
    shop.options("retries=1&backoff[]=0")
    id = shop.dispatch()
    shop.ended(id)
    assert shop.lines("events") == [f"WorkerMessage{what}Event async {id}" for what in ("Received", "Handled")]
    id = shop.dispatch("throw")
    shop.ended(id)
    expected = [f"WorkerMessage{what}Event async {id}" for what in ("Received", "Received", "Failed")]
    assert shop.lines("events")[2:] == expected


def test_messenger_consume_is_told_that_there_is_nothing_to_consume(shop: Shop) -> None:
    status, shown = shop.say("say(console('messenger:consume async --limit=1'));", COLUMNS="300")
    assert status == 1
    assert "the sidecar daemon handles its messages as they come" in " ".join(shown.split())


@pytest.mark.parametrize(("options", "ways"), [("timeout=30", (1, 0)), ("ack=sent", (0, 1))])
def test_a_message_is_stored_when_its_dispatch_returns(options: str, ways: tuple[int, int], shop: Shop) -> None:
    shop.options(options)
    shop.ended(shop.dispatch())
    counters = shop.daemon.call("stats")["counters"]
    assert (counters["stream"], counters["datagrams"]) == ways  # by stream it has an answer, unless that is not wanted


def test_without_a_daemon_a_message_waits_in_the_spool(shop: Shop) -> None:
    shop.daemon.stop()
    id = shop.dispatch()
    assert shop.lines() == []
    shop.daemon.start()
    assert eventually(lambda: shop.lines(), 30)
    assert shop.ended(id)["outcome"] == "succeeded"


def _caught(shop: Shop, code: str) -> list[str]:
    caught = "catch (Throwable $error) { say([$error::class, $error->getMessage()]); }"
    heard: list[str] = shop.say(f"try {{ {code} say(['nothing', '']); }} {caught}")
    return heard


def test_without_a_daemon_the_dispatch_throws_where_that_is_wanted(shop: Shop) -> None:
    shop.options("on_unavailable=throw")
    assert _caught(shop, "dispatch(new Step());")[0] == "nothing"
    shop.daemon.stop()
    kind, message = _caught(shop, "dispatch(new Step());")
    assert kind == "Symfony\\Component\\Messenger\\Exception\\TransportException"
    assert message.startswith("cannot hand off the message: ")


def test_a_message_that_the_daemon_refuses_is_an_exception_at_the_dispatch(shop: Shop) -> None:
    kind, message = _caught(shop, "dispatch(new SendReceipt(1, str_repeat('x', 9_000_000)));")
    assert kind == "Symfony\\Component\\Messenger\\Exception\\TransportException", message


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("sidecar://default?timeot=3", "cannot use option timeot: known are"),
        ("sidecar://default?timeout=soon", "cannot use option timeout: it is 'soon', give seconds"),
        ("sidecar://default?retries=2.5", "cannot use option retries: it is '2.5', give a whole number"),
        ("sidecar://default?queue=a/b", "cannot use option queue"),
        ("sidecar://default?bootstrap=sidecar.php", "cannot use bootstrap: it is 'sidecar.php', give an absolute path"),
        ("sidecar://default?on_unavailable=inline", 'the framework\'s own "sync"'),
        ("sidecar://redis:6379", "give sidecar://default"),
        ("sidecar://default?timeout=3.5&priority=-5&backoff[base]=2&backoff[cap]=9&at_most_once=1", None),
    ],
)
def test_a_wrong_option_is_named_when_the_transport_is_made(dsn: str, said: str | None, shop: Shop) -> None:
    shop.change("config/packages/messenger.yaml", _DSN, dsn)
    kind, message = _caught(shop, "$kernel->getContainer()->get('messenger.default_bus')->dispatch(new Step());")
    if said is None:
        assert kind == "nothing", message
    else:
        assert kind == "Symfony\\Component\\Messenger\\Exception\\InvalidArgumentException"
        assert message.startswith('cannot make Messenger transport "async": ')
        assert said in message


def test_messenger_counts_what_waits(shop: Shop) -> None:
    busy: list[Any] = [shop.dispatch("hang") for _ in range(4)]  # as many as the daemon has slots
    eventually(lambda: len(shop.lines()) == 4, 30)
    busy += [shop.dispatch("hang") for _ in range(2)]
    assert shop.say("say($kernel->getContainer()->get('async')->getMessageCount());") == 2
    for id in busy:
        shop.daemon.call("cancel", id)
