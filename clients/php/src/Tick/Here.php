<?php

/**
 * A call in the tick's own process, for a php that may start none. What is lost by that, Lost says.
 *
 * What does not come back (exit, a fatal error, the time limit) is told from PHP's shutdown function.
 */

declare(strict_types=1);

namespace Sidecar\Tick;

use Closure;
use Sidecar\GiveUp;
use Sidecar\Msgpack;
use Sidecar\Target;
use Sidecar\TryAgain;
use Sidecar\Worker;
use Throwable;

final class Here
{
    private const OUTPUT = 64 * 1024;
    private const TEXT = 32 * 1024;
    private const RESULT = 1024 * 1024;

    private ?Entry $job = null;
    private float $started = 0.0;
    private string $output = '';
    private int $dropped = 0;

    /**
     * @param Closure(Entry, array<string, mixed>): void $ended gets a job and how its attempt ended
     * @param Closure(): void $last is called after that where the process ends with it
     */
    public function __construct(private readonly Closure $ended, private readonly Closure $last)
    {
        register_shutdown_function($this->end(...));
    }

    public function run(Entry $job): void
    {
        [$this->job, $this->started, $this->output, $this->dropped] = [$job, microtime(true), '', 0];
        $record = Descriptor::runtime((string) $job->runtime);
        $folder = getcwd();
        $environment = $this->enter($job, $record);
        ob_start($this->keep(...), 4096);
        function_exists('set_time_limit') && set_time_limit(max(1, (int) ceil($job->timeout())));
        $report = $this->call($job, $record);
        function_exists('set_time_limit') && set_time_limit(0);
        ob_end_flush();
        $this->leave($environment, (string) $folder);
        $this->tell('exit', $report);
    }

    /**
     * @param array<string, mixed> $record
     * @return array<string, mixed> the report
     */
    private function call(Entry $job, array $record): array
    {
        $target = null;
        $bootstrap = $record['bootstrap'] ?? null;
        try {
            $folder = $job->body['cwd'] ?? $record['cwd'] ?? '/';
            if (!is_dir($folder) || !chdir($folder)) {
                return ['error' => Rules::error('FolderError', "cannot enter folder '{$folder}'")];
            }
            $loaded = $bootstrap === null ? null : self::load($bootstrap);
            $target = new Target($job->body['call'], is_callable($loaded) ? $loaded : null, $bootstrap);
            $args = isset($job->body['args']) ? Msgpack::decode($job->body['args']) : [];
            $kwargs = isset($job->body['kwargs']) ? Msgpack::decode($job->body['kwargs']) : [];
            return self::packed($target->call([...$args, ...$kwargs]));
        } catch (Throwable $error) {
            $retry = match (true) { // as Worker has it
                $error instanceof GiveUp => ['retry' => false],
                $error instanceof TryAgain => ['retry' => $error->seconds],
                default => [],
            };
            $error = $retry === [] ? $error : $error->getPrevious() ?? $error;
            $isLast = $job->isLastTry() || $retry === ['retry' => false];
            $isLast && $target !== null && self::hear($target, $error);
            $shown = ['type' => $error::class, 'message' => $error->getMessage(), 'traceback' => (string) $error];
            $cut = static fn (string $text): string => substr($text, 0, self::TEXT);
            return ['error' => array_map($cut, $shown), ...$retry];
        }
    }

    /** What a bootstrap returns is kept: it is required once for all jobs of a tick. */
    private static function load(string $bootstrap): mixed
    {
        static $loaded = [];
        return $loaded[$bootstrap] ??= require_once $bootstrap;
    }

    private static function hear(Target $target, Throwable $error): void
    {
        try {
            $target->tell($error);
        } catch (Throwable $second) {
            echo "{$target->class}::failed() failed in its turn: {$second}\n";
        }
    }

    /** @return array<string, mixed> */
    private static function packed(mixed $value): array
    {
        try {
            $packed = Msgpack::encode($value, 'the return value');
        } catch (\InvalidArgumentException $error) {
            return ['result_error' => $error->getMessage()];
        }
        $size = strlen($packed);
        return $size <= self::RESULT ? ['result' => $packed] : ['result_error' => "the return value is {$size} bytes"];
    }

    /**
     * Put the job's variables into the environment.
     *
     * @param array<string, mixed> $record
     * @return array<string, string|false> what was there before
     */
    private function enter(Entry $job, array $record): array
    {
        $own = ['SIDECAR_ATTEMPT' => $job->attempts, 'SIDECAR_JOB_ID' => $job->name(), 'SIDECAR_QUEUE' => $job->queue];
        $before = [];
        foreach ([...($record['env'] ?? []), ...($job->body['env'] ?? []), ...$own] as $name => $value) {
            $before[$name] = getenv((string) $name);
            function_exists('putenv') && putenv("{$name}={$value}");
        }
        return $before;
    }

    /** @param array<string, string|false> $environment */
    private function leave(array $environment, string $folder): void
    {
        foreach ($environment as $name => $value) {
            function_exists('putenv') && putenv($value === false ? (string) $name : "{$name}={$value}");
        }
        chdir($folder);
    }

    private function keep(string $text): string
    {
        $kept = substr($this->output . $text, -self::OUTPUT);
        $this->dropped += strlen($this->output) + strlen($text) - strlen($kept);
        $this->output = $kept;
        return '';
    }

    private function end(): void
    {
        if ($this->job === null) {
            return;
        }
        function_exists('ini_set') && ini_set('memory_limit', '-1'); // it may be what ended the job
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        $last = error_get_last();
        if ($last === null || ($last['type'] & Worker::FATAL) === 0) {
            $this->tell('exit', ['result' => Msgpack::encode(null)]);
            ($this->last)();
            return;
        }
        $timedOut = str_starts_with($last['message'], 'Maximum execution time');
        $this->tell($timedOut ? 'timeout' : 'exit', ['error' => [
            'type' => 'FatalError', 'message' => $last['message'],
            'traceback' => "{$last['message']} in {$last['file']}({$last['line']})\n",
        ]]);
        ($this->last)();
    }

    /** @param array<string, mixed> $report */
    private function tell(string $reason, array $report): void
    {
        [$job, $this->job] = [$this->job, null];
        ($this->ended)($job, [
            'reason' => $reason, 'status' => isset($report['error']) ? 1 : 0, 'signal' => null,
            'started' => $this->started, 'ended' => microtime(true), 'report' => $report,
            'output' => $this->output, 'dropped' => $this->dropped, 'survivors' => 0,
        ]);
    }
}
