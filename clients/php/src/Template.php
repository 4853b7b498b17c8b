<?php

/**
 * The application in memory, and processes forked from it: what a bootstrap takes, no job takes again.
 *
 * The zygote starts it beside itself and asks for spares; each is its own child from the first moment (CLONE_PARENT), a
 * process that waits for its order, and is then a worker as any other. The template itself runs no job. It is refused,
 * with the reason, where a fork would share what must not be shared: open descriptors, threads, children.
 *
 * On fd 4, packets: from the zygote first the runtime (packed), then one for each spare, with its output, report and
 * orders; from here what was loaded, or why not, then the pid of each spare.
 */

declare(strict_types=1);

namespace Sidecar;

use Throwable;

final class Template
{
    private const CHANNEL = 4;
    private const REPORT = 3;
    private const ORDERS = 4;
    private const ROOM = 64 * 1024;
    private const ORDER_AT = 16; // child.py's
    private const PATHS = 500; // in one packet
    private const NEEDED = ['chdir', 'get_included_files', 'get_resources', 'ini_set', 'mt_srand', 'putenv'];

    /** The file to require before the jobs. */
    public readonly ?string $bootstrap;

    private readonly int $unbegun; // bytes of the mark that a spare's report begins with
    private readonly int $pid;
    private readonly int $parent;
    /** @var array<int, resource> */
    private array $resources = [];
    private bool $serves = false;
    /** @var array<string, string> */
    private readonly array $before;

    private function __construct(private readonly Kernel $kernel)
    {
        [$packed] = $kernel->receive(self::CHANNEL) ?? $kernel->end(0);
        $given = Msgpack::decode($packed);
        $this->bootstrap = $given['bootstrap'] ?? null;
        $this->unbegun = $given['unbegun'];
        $this->pid = (int) getmypid();
        $this->parent = $kernel->parent();
        $kernel->findExitStatus();
        $this->before = self::surroundings();
        register_shutdown_function($this->endedEarly(...));
    }

    /** Take the runtime that the zygote has sent. */
    public static function begin(): self
    {
        try {
            self::checkPhp();
            return new self(new Kernel(self::ROOM));
        } catch (Throwable $error) { // no FFI, or another PHP than it knows
            self::say(['unsafe' => "a php that cannot be forked from: {$error->getMessage()}"]);
            exit(1);
        }
    }

    private static function checkPhp(): void
    {
        $missing = array_filter(self::NEEDED, static fn (string $name): bool => !function_exists($name));
        if ($missing !== []) {
            throw new \RuntimeException('its php.ini disables ' . implode(', ', $missing));
        }
        if ((string) ini_get('opcache.preload') !== '') { // part of opcache, which the jobs must not share
            throw new \RuntimeException('its php.ini has opcache.preload');
        }
    }

    /** Say why no job may be forked from here, and end. */
    public function refuse(string $reason): never
    {
        $this->serves = true;
        self::say(['unsafe' => $reason]);
        $this->kernel->end(1);
    }

    /** Fork spares until the zygote has enough; returns in each of them, when it knows its job. */
    public function serve(): Worker
    {
        if (getmypid() !== $this->pid) { // a child that the bootstrap has forked
            $this->kernel->end(0);
        }
        $this->checkSurroundings();
        while (ob_get_level() > 0) {
            ob_end_clean(); // what the bootstrap has printed is no job's
        }
        $this->serves = true;
        // Else each job would compile them.
        array_map(class_exists(...), [Worker::class, Target::class, Bytes::class, Last::class, Silence::class]);
        gc_collect_cycles();
        error_clear_last();
        $this->kernel->keepFromDestructors();
        $GLOBALS['argv'] = $_SERVER['argv'] = array_slice(get_included_files(), 0, 1); // as in a php of its own
        $GLOBALS['argc'] = $_SERVER['argc'] = 1;
        $this->resources = get_resources();
        foreach (array_chunk(get_included_files(), self::PATHS) as $paths) {
            self::say(['loaded' => $paths]);
        }
        self::say(['ready' => true]);
        clearstatcache(true); // where links lead is for each job to find out: `current`, and /proc/self
        while ([, $given] = $this->kernel->receive(self::CHANNEL) ?? [null, null]) {
            if ($given === null) {
                break;
            }
            $pid = $this->kernel->forkSibling();
            if ($pid === 0) {
                return $this->spare(...$given);
            }
            foreach ($given as $descriptor) {
                $this->kernel->close($descriptor);
            }
            $this->kernel->write(self::CHANNEL, pack('q', $pid));
        }
        $this->kernel->end(0);
    }

    /** Wait to be known to the zygote (until then it tells us by our session), then to be told a job. */
    private function spare(int $output, int $report, int $orders): Worker
    {
        if ($this->kernel->read($orders, 1) === '') {
            $this->kernel->end(1);
        }
        $this->kernel->dup2($orders, self::ORDERS); // first: it may have the number of the report
        $this->kernel->dup2($output, 1);
        $this->kernel->dup2($output, 2);
        $this->kernel->dup2($report, self::REPORT);
        foreach ([$output, $report, $orders] as $descriptor) {
            $descriptor > self::ORDERS && $this->kernel->close($descriptor); // what else is open is the script
        }
        if (!$this->kernel->becomeAJob($this->parent)) {
            $this->kernel->end(1);
        }
        $this->kernel->forgetShutdownFunctions();
        mt_srand(random_int(0, PHP_INT_MAX));
        $packed = $this->kernel->read(self::ORDERS, self::ROOM);
        if ($packed === '') {
            $this->kernel->end(1);
        }
        $this->kernel->pwrite(self::REPORT, str_repeat("\0", $this->unbegun), 0);
        $this->kernel->close(self::ORDERS);
        $order = Msgpack::decode($packed);
        if (is_int($order)) { // its size: it is too long for a pipe, and stands in the report
            $packed = $this->kernel->pread(self::REPORT, $order, self::ORDER_AT);
            $order = Msgpack::decode($packed); // what the job starts has the file open too, and is not to read it there
            $this->kernel->pwrite(self::REPORT, str_repeat("\0", strlen($packed)), self::ORDER_AT);
        }
        return $this->worker($order);
    }

    /** @param array<string, mixed> $plan */
    private function worker(array $plan): Worker
    {
        foreach ($plan['env'] as $name => $value) {
            putenv("{$name}={$value}");
            $_SERVER[$name] = $value;
            if (str_contains((string) ini_get('variables_order'), 'E')) {
                $_ENV[$name] = $value;
            }
        }
        $_SERVER['REQUEST_TIME_FLOAT'] = microtime(true);
        $_SERVER['REQUEST_TIME'] = (int) $_SERVER['REQUEST_TIME_FLOAT'];
        if (isset($plan['stdin'])) {
            $this->kernel->give($plan['stdin'], 0);
        }
        $worker = Worker::of($plan, $this->kernel, fn () => Last::of($this->kernel, $this->end(...)));
        if (isset($plan['cwd'])) {
            Silence::begin();
            $entered = chdir($plan['cwd']);
            $said = Silence::said();
            Silence::end();
            $entered || $worker->refuseFolder($plan['cwd'], $said);
        }
        return $worker;
    }

    /**
     * End a job's process at once, which saves 3 ms of taking PHP apart; but not where that would still do something:
     * flush a buffer, write a session, close what the job has left open.
     */
    private function end(): void
    {
        $open = array_filter(
            array_diff_key(get_resources(), $this->resources),
            static fn ($resource): bool => get_resource_type($resource) !== 'stream-context',
        );
        $session = function_exists('session_status') && session_status() === PHP_SESSION_ACTIVE;
        if (ob_get_level() === 0 && $open === [] && !$session) {
            $this->kernel->end($this->kernel->exitStatus());
        }
    }

    private function endedEarly(): void
    {
        if (!$this->serves && getmypid() === $this->pid) {
            $last = error_get_last();
            $why = ($last['type'] ?? 0) & Worker::FATAL ? $last['message'] : 'exit()';
            $this->refuse("its bootstrap ended by {$why}");
        }
    }

    private function checkSurroundings(): void
    {
        if (function_exists('session_status') && session_status() === PHP_SESSION_ACTIVE) {
            $this->refuse('its bootstrap leaves a session open');
        }
        $after = self::surroundings();
        foreach (array_diff_assoc($after, $this->before) as $what) {
            // Without numbers, which are others in each process: the daemon logs a reason once.
            $this->refuse('its bootstrap leaves ' . preg_replace('/:\[\d+\]| \(\d+\)/', '', $what));
        }
    }

    /** Return what a fork would share, or would not copy: for each a text for people. @return array<string, string> */
    private static function surroundings(): array
    {
        $found = [];
        Silence::begin(); // a handler of the bootstrap's may throw, even behind an @
        $own = '/proc/' . getmypid(); // not /proc/self: PHP would remember for all jobs where that leads
        foreach (scandir("{$own}/fd") ?: [] as $fd) {
            $name = $fd[0] === '.' ? false : readlink("{$own}/fd/{$fd}"); // of scandir's own there is nothing left
            if ($name !== false && !str_starts_with($name, '/proc/')) {
                $what = str_starts_with($name, 'socket:') ? "{$name}, a connection such as a database's" : $name;
                $found["fd {$fd}"] = "open: {$what}";
            }
        }
        foreach (scandir("{$own}/task") ?: [] as $task) {
            if ($task[0] !== '.' && $task !== (string) getmypid()) {
                $found["task {$task}"] = "a thread running ({$task}), which a fork does not copy";
            }
        }
        $children = (string) file_get_contents("{$own}/task/" . getmypid() . '/children');
        foreach (preg_split('/\s+/', $children, -1, PREG_SPLIT_NO_EMPTY) ?: [] as $child) {
            $found["child {$child}"] = "a process running ({$child})";
        }
        Silence::end();
        return $found;
    }

    /** @param array<string, mixed> $what */
    private static function say(array $what): void
    {
        $stream = fopen('php://fd/' . self::CHANNEL, 'r+');
        fwrite($stream, Msgpack::encode($what));
        fclose($stream);
    }
}
