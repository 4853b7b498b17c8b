<?php

/**
 * One attempt as a process of its own: started, watched, ended on time with all that it started. Nothing here waits.
 *
 * A command is run as it is; a call by bin/sidecar-php-worker, as for the daemon: its plan on fd 4, its report on fd 3
 * (PROTOCOL.md, "PHP calls"). Both have a session of their own, where there is a setsid.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Sidecar\Bytes;
use Sidecar\Msgpack;

final class Attempt
{
    private const REPORT = 3;
    private const PLAN = 4;
    private const LOW = 12; // descriptors that are kept busy, so that none which a job gets is overwritten by another
    private const RESULT = 1024 * 1024; // bytes of a packed return value
    private const OUTPUT = 64 * 1024; // bytes of the end that are kept
    private const READ = 64 * 1024;
    private const MOST_READS = 64; // in a row, of a process that writes faster than we read
    // Of php.ini all holds but what belongs to a web server's page; as the daemon has it.
    private const SETTINGS = ['opcache.jit=disable', 'display_errors=stderr', 'html_errors=0', 'max_execution_time=0'];

    /** @var resource|null null: it could not be started, or is over */
    private $process = null;
    /** @var resource|null */
    private $pipe = null;
    /** @var resource|null */
    private $report = null;
    private readonly float $started;
    private readonly float $deadline; // by hrtime
    private ?float $killAt = null;
    private string $why = 'exit';
    private string $output = '';
    private int $dropped = 0;
    /** @var array<string, mixed>|null */
    private ?array $error = null;
    private ?int $status = null;
    private ?int $signal = null;
    private int $survivors = 0;
    private bool $over = false;

    /** @param resource $lock of the leash, held by the job's processes from now on, and by nobody else */
    public function __construct(public readonly Entry $job, private readonly Leash $leash, $lock, string $state)
    {
        $this->started = microtime(true);
        $this->deadline = self::now() + $job->timeout();
        $record = $job->runtime === null ? [] : Descriptor::runtime($job->runtime);
        $folder = $job->body['cwd'] ?? $record['cwd'] ?? '/';
        $environment = $this->environment($record['env'] ?? []);
        $path = $environment['PATH'] ?? '/bin:/usr/bin';
        $refused = Program::whyNot($job->body['argv'][0] ?? null, $path, $folder);
        if ($refused === null) {
            $this->start($record, $folder, $environment, $lock, "{$state}/leash");
            fclose($lock);
            return;
        }
        [$this->status, $this->error] = $refused;
        $this->over = true;
        fclose($lock);
        $this->leash->end();
    }

    /** Look at it; returns whether it is over, and nothing of it is left. */
    public function isOver(): bool
    {
        if ($this->over) {
            return true;
        }
        $this->read();
        $status = proc_get_status($this->process);
        if (!$status['running']) {
            $this->signal = $status['signaled'] ? $status['termsig'] : null;
            $this->status = $status['signaled'] ? null : $status['exitcode'];
            [$this->survivors] = $this->leash->end();
            $this->read();
            return $this->over = true;
        }
        if ($this->why === 'exit' && self::now() >= $this->deadline) {
            $this->terminate('timeout');
        }
        if ($this->killAt !== null && self::now() >= $this->killAt) {
            $this->signal('KILL'); // again and again, if need be: it is the kernel's turn
            $this->leash->end();
        }
        return false;
    }

    /** Have it end because our time is over. */
    public function interrupt(): void
    {
        $this->why === 'exit' && !$this->over && $this->terminate('shutdown');
    }

    /** Kill it and all it started, at once: the tick cannot go on. Its job stays claimed. */
    public function abandon(): void
    {
        if (!$this->over) {
            $this->signal('KILL');
            $this->leash->end();
        }
    }

    /** @return resource|null the pipe of its output, to wait for */
    public function pipe()
    {
        return $this->pipe;
    }

    /** @return array<string, mixed> how it ended, as Rules::conclude takes it */
    public function ending(): array
    {
        return [
            'reason' => $this->why, 'status' => $this->status, 'signal' => $this->signal,
            'started' => $this->started, 'ended' => microtime(true),
            'report' => $this->error === null ? Report::read($this->report) : ['error' => $this->error],
            'output' => $this->output, 'dropped' => $this->dropped, 'survivors' => $this->survivors,
        ];
    }

    /**
     * @param array<string, string> $given
     * @return array<string, string>
     */
    private function environment(array $given): array
    {
        $inherited = array_diff_key(getenv(), [Command::QUEUE => 1]); // it may hold a password
        $own = [
            'SIDECAR_ATTEMPT' => (string) $this->job->attempts, 'SIDECAR_JOB_ID' => $this->job->name(),
            'SIDECAR_QUEUE' => $this->job->queue,
            'SIDECAR_DEADLINE' => sprintf('%.6F', $this->started + $this->job->timeout()),
        ];
        return [...$inherited, ...$given, ...($this->job->body['env'] ?? []), ...$own];
    }

    /**
     * @param array<string, mixed> $record
     * @param array<string, string> $environment
     * @param resource $lock
     */
    private function start(array $record, string $folder, array $environment, $lock, string $place): void
    {
        self::keepLowDescriptorsBusy();
        $setsid = Signals::setsid();
        $argv = $this->job->body['argv'] ?? $this->worker($record);
        $this->report = self::memory($place, '');
        $given = isset($this->job->body['stdin']) ? self::memory($place, $this->job->body['stdin']) : null;
        $descriptors = [
            $given ?? ['file', '/dev/null', 'r'], ['pipe', 'w'], ['redirect', 1],
            self::REPORT => $this->report,
            self::PLAN => $record === [] ? ['file', '/dev/null', 'r'] : self::memory($place, $this->plan($record)),
            Leash::DESCRIPTOR => $lock,
        ];
        $argv = $setsid === null ? $argv : [$setsid, ...$argv];
        $environment = array_map(strval(...), $environment);
        $start = static function () use ($argv, $descriptors, &$pipes, $folder, $environment) {
            return proc_open($argv, $descriptors, $pipes, $folder, $environment);
        };
        $this->process = Ground::quietly($start, 'cannot start a process', 'look at the limits of this user');
        $this->pipe = $pipes[1];
        stream_set_blocking($this->pipe, false);
        stream_set_read_buffer($this->pipe, 0);
    }

    /**
     * @param array<string, mixed> $record
     * @return list<string>
     */
    private function worker(array $record): array
    {
        $options = array_merge(...array_map(static fn (string $each): array => ['-d', $each], self::SETTINGS));
        return [$record['interpreter'], ...$options, $record['worker']];
    }

    /** @param array<string, mixed> $record */
    private function plan(array $record): string
    {
        $plan = array_intersect_key($this->job->body, ['call' => 1]);
        foreach (array_intersect_key($this->job->body, ['args' => 1, 'kwargs' => 1]) as $name => $packed) {
            $plan[$name] = new Bytes($packed);
        }
        $plan += array_intersect_key($record, ['bootstrap' => 1]);
        return Msgpack::encode([...$plan, 'limit' => self::RESULT, 'last' => $this->job->isLastTry()]);
    }

    /** @return resource a file without a name, at its beginning */
    private static function memory(string $place, string $data)
    {
        $path = "{$place}/" . bin2hex(random_bytes(8)) . '.tmp';
        return Ground::quietly(static function () use ($path, $data) {
            $file = fopen($path, 'x+e');
            $whole = $file !== false && unlink($path) && fwrite($file, $data) === strlen($data) && rewind($file);
            return $whole ? $file : false;
        }, "cannot write {$path}", 'free some space there');
    }

    /** PHP puts one descriptor after the other into its place in the child: one that stands in such a place is lost. */
    private static function keepLowDescriptorsBusy(): void
    {
        static $kept = [];
        while (count($kept) < self::LOW) {
            $kept[] = fopen('/dev/null', 're');
        }
    }

    private function terminate(string $why): void
    {
        $this->why = $why;
        $this->killAt = self::now() + $this->job->grace();
        $this->signal('TERM');
    }

    private function signal(string $name): void
    {
        $pid = proc_get_status($this->process)['pid']; // not reaped yet, so that it is nobody else's
        Signals::send($name, [Signals::setsid() === null ? $pid : -$pid]);
    }

    private function read(): void
    {
        for ($reads = 0; $this->pipe !== null && $reads < self::MOST_READS; $reads++) {
            $data = fread($this->pipe, self::READ);
            if ($data === false || $data === '') {
                feof($this->pipe) && $this->close();
                return;
            }
            $this->output .= $data;
            $over = strlen($this->output) - self::OUTPUT;
            if ($over > 0) {
                $this->output = substr($this->output, $over);
                $this->dropped += $over;
            }
        }
    }

    private function close(): void
    {
        fclose($this->pipe);
        $this->pipe = null;
    }

    private static function now(): float
    {
        return hrtime(true) / 1e9;
    }
}
