<?php

/**
 * The job's side in PHP: one call, from its plan to its report. bin/sidecar-php-worker is what runs it.
 *
 * The zygote that started this process keeps its deadline, output and tree; all that is left is to call and to tell.
 * What is told of each way to end:
 *
 *     return                          its value; result_error where that cannot be packed or is too large
 *     exit(), exit(0), exit("text")   a null; PHP's status of all three is 0
 *     exit(3)                         the same null, and the status beside it says that the job failed
 *     a Throwable                     its class, message and trace, and `failed` is called when no try is left
 *     GiveUp, TryAgain                of what they were made for, if anything, and whether and when to try again
 *     exit() in the bootstrap         an error: nothing was called
 *     a fatal error                   PHP's message: no Throwable was there, so `failed` is not called
 *
 * A warning is output, and the job goes on, unless the bootstrap has set a handler that makes an exception of it.
 */

declare(strict_types=1);

namespace Sidecar;

use Throwable;

final class Worker
{
    private const REPORT = 3;
    private const PLAN = 'php://fd/4';
    private const NOT_RUNNABLE = 126; // exit status, as a shell would give it
    private const MOST = 32 * 1024; // bytes of a message or a trace
    public const FATAL = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;

    /** The file to require before the call; what it returns goes to `run`. */
    public readonly ?string $bootstrap;

    private bool $called = false;
    private bool $told = false;
    private ?Target $target = null;

    /**
     * @param array<string, mixed> $plan
     * @param ?Kernel $kernel of a forked process: it writes the report with fewer pages touched
     * @param (\Closure(): void)|null $ending is called before the shutdown functions that the job registers
     */
    private function __construct(
        private readonly array $plan,
        private readonly ?Kernel $kernel = null,
        private readonly ?\Closure $ending = null,
    ) {
        $this->bootstrap = $plan['bootstrap'] ?? null;
        if (!ini_get('error_log')) {
            self::set('log_errors', '0'); // the log would be stderr, where the same message stands already
        }
        register_shutdown_function($this->end(...));
    }

    /**
     * Make the worker of a process that was forked from a template.
     *
     * @param array<string, mixed> $plan
     * @param \Closure(): void $ending is called before the shutdown functions that the job registers
     */
    public static function of(array $plan, Kernel $kernel, \Closure $ending): self
    {
        return new self($plan, $kernel, $ending);
    }

    /** Take the plan that the zygote has left for this process. */
    public static function begin(): self
    {
        $stream = @fopen(self::PLAN, 'r+');
        $packed = $stream === false ? '' : stream_get_contents($stream);
        if ($packed === '') {
            fwrite(STDERR, "cannot run a job: no plan is on fd 4; the sidecar daemon is what starts this program\n");
            exit(2);
        }
        ftruncate($stream, 0); // fd 4 stays open, for the job and for what it starts: its arguments are not theirs
        return new self(Msgpack::decode($packed));
    }

    /** Report that the folder in which the job is to run cannot be entered, and end as child.py does. */
    public function refuseFolder(string $folder, string $said): never
    {
        $why = preg_replace('/^chdir\(\): | \(errno \d+\)$/', '', $said);
        $this->report(['error' => self::error('FolderError', "cannot enter folder '{$folder}': {$why}", '')]);
        exit(self::NOT_RUNNABLE);
    }

    /**
     * Call what the plan names, and report what it returned.
     *
     * @param mixed $bootstrapped what the bootstrap returned: a `fn(string $class): object` makes the object that a
     *     method belongs to; anything else is not used, and the object is built without arguments
     */
    public function run(mixed $bootstrapped): void
    {
        $this->called = true;
        $container = is_callable($bootstrapped) && !is_string($bootstrapped) ? $bootstrapped : null;
        $this->target = new Target($this->plan['call'], $container, $this->bootstrap);
        $args = isset($this->plan['args']) ? Msgpack::decode($this->plan['args']) : [];
        $kwargs = isset($this->plan['kwargs']) ? Msgpack::decode($this->plan['kwargs']) : [];
        $this->returned($this->target->call([...$args, ...$kwargs]));
    }

    /** Report a Throwable that the job did not catch; tell the class of the call when nothing is left to try. */
    public function fail(Throwable $error): void
    {
        $retry = match (true) {
            $error instanceof GiveUp => ['retry' => false],
            $error instanceof TryAgain => ['retry' => $error->seconds],
            default => [],
        };
        if ($retry !== []) {
            $error = $error->getPrevious() ?? $error;
        }
        $this->report(['error' => self::error($error::class, $error->getMessage(), self::trace($error)), ...$retry]);
        $isLast = $this->plan['last'] || $retry === ['retry' => false];
        if ($isLast && $this->target !== null) {
            try {
                $this->target->tell($error);
            } catch (Throwable $second) {
                fwrite(STDERR, "{$this->target->class}::failed() failed in its turn: {$second}\n");
            }
        }
    }

    private function returned(mixed $value): void
    {
        try {
            $packed = Msgpack::encode($value, 'the return value');
        } catch (\InvalidArgumentException $error) {
            $this->report(['result_error' => self::text($error->getMessage(), 1000)]);
            return;
        }
        $size = strlen($packed);
        $limit = $this->plan['limit'];
        $this->report($size <= $limit
            ? ['result' => new Bytes($packed)]
            : ['result_error' => "the return value is {$size} bytes, the limit is {$limit}"]);
    }

    /** Tell what is known where the call did not come back: the process ends by exit() or of a fatal error. */
    private function end(): void
    {
        $this->ending !== null && ($this->ending)();
        if ($this->told) {
            return;
        }
        self::set('memory_limit', '-1'); // it may be what ended the job; PHP has thrown away open buffers by then
        $last = error_get_last();
        if ($last !== null && ($last['type'] & self::FATAL) !== 0) {
            $place = "{$last['file']}({$last['line']})";
            $this->report(['error' => self::error('FatalError', $last['message'], "{$last['message']} in {$place}\n")]);
        } elseif (!$this->called) { // a page for maintenance, say: the work is not done
            $this->report(['error' => self::error('BootstrapExit', "{$this->bootstrap} ended by exit()", '')]);
        } else {
            $this->returned(null);
        }
    }

    private static function set(string $name, string $value): void
    {
        function_exists('ini_set') && ini_set($name, $value); // a php.ini may disable it
    }

    /**
     * Write a report as child.py does. The length goes last: what is killed in between has reported nothing.
     *
     * @param array<string, mixed> $report
     */
    private function report(array $report): void
    {
        $this->told = true;
        $data = Msgpack::encode($report);
        $size = pack('N', strlen($data));
        if ($this->kernel !== null) {
            $this->kernel->pwrite(self::REPORT, $data, 4);
            $this->kernel->pwrite(self::REPORT, $size, 0);
            return;
        }
        $stream = fopen('php://fd/' . self::REPORT, 'r+');
        fseek($stream, 4);
        fwrite($stream, $data);
        fseek($stream, 0);
        fwrite($stream, $size);
        fclose($stream);
    }

    /** @return array<string, string> */
    private static function error(string $type, string $message, string $trace): array
    {
        return [
            'type' => self::text($type, 1000),
            'message' => self::text($message, self::MOST),
            'traceback' => self::text($trace, self::MOST),
        ];
    }

    /** Return the beginning of a text, as UTF-8. */
    private static function text(string $text, int $most): string
    {
        $cut = substr($text, 0, $most);
        if (preg_match('//u', $cut) !== 1) { // it never was, or the cut goes through a character
            $cut = json_decode((string) json_encode($cut, JSON_INVALID_UTF8_SUBSTITUTE));
            $cut = (string) preg_replace('/[\xc0-\xff][\x80-\xbf]*\z/', '', substr($cut, 0, $most));
        }
        return $cut;
    }

    /** Return what PHP would print of it, and of what it was thrown for, without our own frames. */
    private static function trace(Throwable $error): string
    {
        $shown = $error::class . ": {$error->getMessage()} in {$error->getFile()}({$error->getLine()})\n";
        foreach (explode("\n", $error->getTraceAsString()) as $line) {
            if (str_contains($line, __FILE__)) {
                break;
            }
            $shown .= "{$line}\n";
        }
        $before = $error->getPrevious();
        return $before === null ? $shown : "{$shown}\nThrown for:\n" . self::trace($before);
    }
}
