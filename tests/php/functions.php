<?php

/**
 * What the tests of PHP jobs run: each a function that behaves well or badly in one way. Classes are in Jobs/.
 */

declare(strict_types=1);

namespace Jobs;

use Sidecar\Bytes;
use Sidecar\Map;

/** @return array{int, int, string} */
function told(string $text): array
{
    return [getmypid(), strlen($text), count_chars($text, 3)];
}

function add(int $a, int $b = 0): int
{
    return $a + $b;
}

function echoed(mixed ...$args): mixed
{
    return $args;
}

function special(string $what): mixed
{
    return match ($what) {
        'empty map' => new Map([]),
        'bytes' => new Bytes('text'),
        'no utf-8' => "caf\xe9",
        'nested' => ['a' => [1, 2.5, null, true, 'ü'], 'b' => new Map([1])],
        'nothing' => null,
    };
}

function raise(string $message): never
{
    throw new \DomainException($message, 7, new \LogicException('the cause'));
}

function raise_bytes(): never
{
    throw new \RuntimeException("caf\xe9 " . str_repeat("\xff", 100_000));
}

function raise_sloppily(): never
{
    throw new class ('anonymous') extends \Exception {
    };
}

function return_object(): object
{
    return new \DateTimeImmutable();
}

function return_large(int $size): Bytes
{
    return new Bytes(str_repeat("\0", $size));
}

function leave_with(int|string $status): never
{
    echo 'before;';
    exit($status);
}

function leave_plainly(): never
{
    exit();
}

function exhaust_memory(): void
{
    ini_set('memory_limit', '16M');
    echo 'printed before;';
    $held = [];
    while (true) {
        $held[] = str_repeat('x', 100_000);
    }
}

function include_broken(string $path): mixed
{
    return include $path;
}

function call_missing(): void
{
    no_such_function();
}

function call_removed_method(): void
{
    $object = new \stdClass();
    $object->gone();
}

function warn(): string
{
    $undefined[] = $nothing;
    trigger_error('take notice', E_USER_NOTICE);
    trigger_error('do not', E_USER_DEPRECATED);
    return 'went on';
}

function trigger_fatal(): void
{
    trigger_error('the end', E_USER_ERROR);
}

function leave_buffers_open(): string
{
    ob_start();
    echo 'one;';
    ob_start(static fn (string $text): string => strtoupper($text));
    echo 'two;';
    return 'returned';
}

function draw(): int
{
    return mt_rand(0, PHP_INT_MAX - 1);
}

function surroundings(): array
{
    $fds = array_filter(scandir('/proc/self/fd'), static fn ($fd) => file_exists("/proc/self/fd/{$fd}"));
    $stat = explode(' ', preg_replace('/^.*\) /', '', file_get_contents('/proc/self/stat')));
    preg_match('/SigBlk:\s*(\w+)/', file_get_contents('/proc/self/status'), $blocked);
    return [
        'fds' => array_values(array_map(intval(...), array_filter($fds, is_numeric(...)))),
        'leader' => (int) $stat[3] === getmypid(),
        'cwd' => getcwd(),
        'umask' => umask(),
        'blocked' => hexdec($blocked[1]),
        'environ' => new Map(getenv()),
        'argv' => $_SERVER['argv'],
    ];
}

function settings(string ...$names): array
{
    return array_map(ini_get(...), $names);
}

function jit(): bool
{
    return function_exists('opcache_get_status') && (opcache_get_status(false)['jit']['on'] ?? false);
}

function read_stdin(): string
{
    return stream_get_contents(STDIN);
}

function write(string $text): void
{
    echo $text;
    fwrite(STDERR, '!');
}

function flood(int $size): void
{
    $chunk = str_repeat('x', 65536);
    for ($written = 0; $written < $size; $written += 65536) {
        fwrite(STDOUT, $chunk);
    }
}

function spin(): void
{
    while (true) {
    }
}

function nap(): void
{
    sleep(600);
}

function nap_in_read(): void
{
    $pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    fread($pair[0], 1);
}

function ignore_sigterm(): void
{
    pcntl_signal(SIGTERM, SIG_IGN);
    echo "ready\n";
    while (true) {
        sleep(60);
    }
}

function end_on_sigterm(): void
{
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, static fn () => exit(0));
    echo "ready\n";
    while (true) {
        sleep(60);
    }
}

function escape(string $path): void
{
    if (pcntl_fork() === 0) {
        posix_setsid();
        if (pcntl_fork() === 0) {
            pcntl_signal(SIGTERM, SIG_IGN);
            file_put_contents("{$path}.new", (string) getmypid());
            rename("{$path}.new", $path);
            sleep(600);
        }
        posix_kill(getmypid(), SIGKILL);
    }
    pcntl_wait($status);
    while (!file_exists($path)) {
        usleep(1000);
        clearstatcache();
    }
}

function forge_report(): never
{
    $report = fopen('php://fd/3', 'r+');
    fwrite($report, "\xff\xff\xff\xff");
    posix_kill(getmypid(), SIGKILL);
    exit;
}

function fill_report(): int
{
    $report = fopen('php://fd/3', 'r+');
    $written = 0;
    while (($more = @fwrite($report, str_repeat("\xff", 1 << 20))) > 0) {
        $written += $more;
    }
    return $written;
}

function read_plan(): string
{
    $plan = @fopen('php://fd/4', 'r'); // closed where a template has forked the process
    return $plan === false || !rewind($plan) ? '' : stream_get_contents($plan);
}

function late(string $path): string
{
    register_shutdown_function(static fn () => file_put_contents($path, 'shutdown;', FILE_APPEND));
    $GLOBALS['kept'] = new class ($path) {
        public function __construct(private string $path)
        {
        }

        public function __destruct()
        {
            file_put_contents($this->path, 'destructor;', FILE_APPEND);
        }
    };
    return 'returned';
}

function fail_late(): string
{
    register_shutdown_function(static fn () => throw new \Exception('too late'));
    return 'returned';
}

function in_global_scope(): string
{
    return $GLOBALS['of_the_bootstrap'] ?? 'nothing';
}

function strict(int $number, string $text): array
{
    return [$number, $text];
}

/** Whether this process was forked from a template: then its command line is the template's. */
function is_forked(): bool
{
    return str_ends_with(file_get_contents('/proc/' . getmypid() . '/cmdline'), "template\0");
}

/** Hand a job to Python from within a job in PHP. */
function ask_python(string $runtime, string $interpreter, int $number): array
{
    $client = new \Sidecar\Client($runtime);
    $job = $client->submit(
        'builtins:pow',
        [$number, 2],
        ack: 'stored',
        runtime: ['kind' => 'python', 'interpreter' => $interpreter],
    );
    return [$job->result(20), $job->id];
}
