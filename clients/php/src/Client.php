<?php

/**
 * The way in: `(new Sidecar\Client)->submit('Acme\Mail::send', [42], timeout: 30)`.
 *
 * A job goes   Terms, Runtime -> Plan -> Door -> Handoff | Control | Spool | Inline
 */

declare(strict_types=1);

namespace Sidecar;

use Closure;
use InvalidArgumentException;

final class Client
{
    private const ANSWER = 10.0; // seconds for what the daemon has at hand
    private const PLANS = 256; // more targets than that are made up on the way: start over
    private const PHP_CALL = '/^[A-Za-z_\x80-\xff][\w\x80-\xff]*(\\\\[A-Za-z_\x80-\xff][\w\x80-\xff]*)*'
        . '(::[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\z/';

    private readonly Door $door;
    /** @var array<string, mixed> */
    private array $options;
    /** @var array<string, Plan> */
    private array $plans = [];
    private ?string $record = null; // packed

    /**
     * `$runtimeDir` is the daemon's folder (null: where `sidecar serve` puts it), `$php` the php that runs the jobs
     * (null: this one's), `$bootstrap` the file that it requires first (null: Composer's autoloader). The options are
     * those of every job of this client; a submit may say otherwise.
     */
    public function __construct(
        ?string $runtimeDir = null,
        private readonly ?string $php = null,
        private readonly ?string $bootstrap = null,
        mixed ...$options,
    ) {
        self::absolute('php', $php);
        self::absolute('bootstrap', $bootstrap);
        $this->door = Door::of($runtimeDir);
        $this->options = ['ack' => Terms::defaultAck(), ...Terms::check($options)];
    }

    /** Return a client whose jobs have these options too. */
    public function options(mixed ...$options): self
    {
        $made = clone $this;
        $made->options = Terms::merge($this->options, Terms::check($options));
        $made->plans = [];
        return $made;
    }

    /**
     * Hand over a call ("Acme\Mail::send", a function's name, an invokable class) and return its job at once.
     *
     * Arguments with text keys are named ones. Options: timeout, grace, queue, priority, retries, backoff, delay,
     * run_at, expires, at_most_once, env, cwd, stdin, ack, on_unavailable, deadline, runtime.
     *
     * @param string|Closure|array{class-string, string} $call
     * @param array<int|string, mixed> $args
     */
    public function submit(string|Closure|array $call, array $args = [], mixed ...$options): Job
    {
        if ($call instanceof Closure) {
            [$call, $args] = self::opened($call, $args);
        }
        $plan = $this->plan($call, $options);
        $id = Id::make();
        $message = $plan->message($id, $args, microtime(true));
        return new Job($id, $this->door, $this->door->deliver($id, $message, $plan->options));
    }

    /**
     * Hand over several calls in one write, each as [name, arguments], and return their jobs; the ack is at least
     * "stored". When nobody is there each goes by the policy.
     *
     * @param list<array{string, 1?: array<int|string, mixed>}> $calls
     * @return list<Job>
     */
    public function submitAll(array $calls, mixed ...$options): array
    {
        $options['ack'] ??= $this->options['ack'] === 'sent' ? 'stored' : null;
        $parcels = [];
        foreach ($calls as $call) {
            [$call, $args] = $call[0] instanceof Closure ? self::opened(...$call) : $call + [1 => []];
            $plan = $this->plan($call, $options);
            $id = Id::make();
            $parcels[] = [$id, $plan->message($id, $args, microtime(true)), $plan->options];
        }
        $acks = $this->door->deliverAll($parcels);
        $job = fn (array $parcel, string $ack): Job => new Job($parcel[0], $this->door, $ack);
        return array_map($job, $parcels, $acks);
    }

    /**
     * Hand over a command: the program and its words, never a shell line. Options as for `submit`.
     *
     * @param list<string> $argv
     */
    public function run(array $argv, mixed ...$options): Job
    {
        return $this->prepared($this->command($argv, $options), [])->send();
    }

    /**
     * Hand over a job of a task that the daemon's configuration names. Its payload is a list or a map.
     *
     * Options: delay, run_at, expires, ack, on_unavailable (not inline), deadline; all else is the configuration's.
     *
     * @param array<int|string, mixed> $payload
     */
    public function task(string $name, array $payload = [], mixed ...$options): Job
    {
        return $this->prepare(new Named($name), $payload, ...$options)->send();
    }

    /**
     * Pack a job as `submit` does and hand nothing over: `$prepared->id` is valid, `$prepared->send()` does the rest. A
     * list instead of a name is a command.
     *
     * @param string|Closure|list<string>|Named $target
     * @param array<int|string, mixed> $args
     */
    public function prepare(string|Closure|array|Named $target, array $args = [], mixed ...$options): Prepared
    {
        if ($target instanceof Closure) {
            [$target, $args] = self::opened($target, $args);
        }
        $plan = match (true) {
            is_array($target) => $this->command($target, $options),
            is_string($target) => $this->plan($target, $options),
            default => $this->named($target, $options),
        };
        return $this->prepared($plan, $args);
    }

    /** Return the job with this id, to ask about it. */
    public function job(string $id): Job
    {
        return new Job(Id::parse($id), $this->door);
    }

    /** Ask where a job is and how it got there. */
    public function status(string $id): JobStatus
    {
        return $this->job($id)->status();
    }

    /** Wait until a job is done, at most `$timeout` seconds (null: for ever). */
    public function wait(string $id, ?float $timeout = null): JobStatus
    {
        return $this->job($id)->wait($timeout);
    }

    /** Wait until a job is done, and return what it returned. */
    public function result(string $id, ?float $timeout = null): mixed
    {
        return $this->job($id)->result($timeout);
    }

    /** Have a job end. */
    public function cancel(string $id): JobStatus
    {
        return $this->job($id)->cancel();
    }

    /**
     * Ask how many jobs are where.
     *
     * @return array<string, mixed> as PROTOCOL.md has it: states, outcomes, queues, and others
     */
    public function stats(): array
    {
        return $this->door->control()->request('stats', "\x90", Clock::now() + self::ANSWER);
    }

    /** @param array<int|string, mixed> $args */
    private function prepared(Plan $plan, array $args): Prepared
    {
        $id = Id::make();
        return new Prepared($id, $plan->message($id, $args, microtime(true)), $plan->options, $this->door);
    }

    /** @param array<int|string, mixed> $options */
    private function plan(string|array $call, array $options): Plan
    {
        if ($options === [] && is_string($call) && isset($this->plans[$call])) {
            return $this->plans[$call];
        }
        $checked = $options === [] ? $this->options : Terms::merge($this->options, Terms::check($options));
        $runtime = isset($checked['runtime']) ? $this->given($checked['runtime']) : $this->record();
        $isPhp = ($checked['runtime']['kind'] ?? 'php') === 'php';
        if (!$isPhp && ($checked['on_unavailable'] ?? '') === 'inline') {
            throw new InvalidArgumentException(
                'cannot use options: what is not PHP cannot run inline here, give another on_unavailable'
            );
        }
        $plan = new Plan(['call' => $isPhp ? self::called($call) : $call], $checked, $runtime);
        if ($options === [] && is_string($call)) {
            if (count($this->plans) >= self::PLANS) {
                $this->plans = [];
            }
            $this->plans[$call] = $plan;
        }
        return $plan;
    }

    /**
     * @param list<string> $argv
     * @param array<int|string, mixed> $options
     */
    private function command(array $argv, array $options): Plan
    {
        if (($argv[0] ?? '') === '' || !array_is_list($argv) || array_filter($argv, is_string(...)) !== $argv) {
            throw new InvalidArgumentException(
                'cannot submit command: give a list of strings, first the program; a shell line is never taken'
            );
        }
        $checked = Terms::merge($this->options, Terms::check($options));
        $folder = isset($checked['cwd']) ? null : Runtime::folder($this->bootstrap);
        return new Plan(['argv' => $argv, ...($folder === null ? [] : ['cwd' => $folder])], $checked);
    }

    /** @param array<int|string, mixed> $options */
    private function named(Named $task, array $options): Plan
    {
        $checked = Terms::merge($this->options, Terms::check($options));
        $task->check($checked);
        return new Plan(['task' => $task->name], $checked);
    }

    private function record(): string
    {
        return $this->record ??= Runtime::record($this->php, $this->bootstrap);
    }

    /** @param array<string, mixed> $runtime */
    private function given(array $runtime): string
    {
        $isPhp = ($runtime['kind'] ?? 'php') === 'php';
        return Runtime::packed($isPhp ? $runtime + Runtime::fields($this->php, $this->bootstrap) : $runtime);
    }

    private static function absolute(string $name, ?string $path): void
    {
        if ($path !== null && !str_starts_with($path, '/')) {
            throw new InvalidArgumentException(
                "cannot use {$name}: it is '{$path}', give an absolute path, such as __DIR__ . '/{$path}'"
            );
        }
    }

    /**
     * Return what a closure is as a job: its name, where it has one, else what runs it.
     *
     * @param array<int|string, mixed> $args
     * @return array{string, array<int|string, mixed>}
     */
    private static function opened(Closure $closure, array $args = []): array
    {
        $name = self::nameOf($closure);
        if ($name !== null) {
            return [$name, $args];
        }
        $why = Closures::whyNot();
        if ($why !== null) {
            throw new InvalidArgumentException(
                "cannot submit a closure: it cannot leave this process, since {$why}; name a function, a static method"
                . ' or an invokable class, or use Sidecar\Deferred, which runs closures here after the response'
            );
        }
        return [Closures::CALL, [new Bytes(Closures::pack($closure)), ...$args]];
    }

    /** Return the name of what `f(...)` or `C::m(...)` was made from; null: it has none, or an object goes with it. */
    private static function nameOf(Closure $closure): ?string
    {
        $function = new \ReflectionFunction($closure);
        $class = $function->getClosureScopeClass();
        if (str_contains($function->getName(), '{closure') || $function->getClosureThis() !== null) {
            return null;
        }
        return ($class === null ? '' : "{$class->getName()}::") . $function->getName();
    }

    private static function called(string|array $call): string
    {
        if (is_array($call)) {
            $isName = array_map(is_string(...), $call) === [true, true];
            $call = $isName ? implode('::', $call) : 'an array that is no [class, method]';
        }
        if (preg_match(self::PHP_CALL, $call) !== 1) {
            throw new InvalidArgumentException(
                'cannot submit job: call is ' . var_export(substr($call, 0, 80), true)
                . ", give 'Acme\\Mail::send', a function's name or an invokable class, without a leading backslash"
            );
        }
        return $call;
    }
}
