<?php

declare(strict_types=1);

namespace App\Jobs;

use Illuminate\Bus\Batchable;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;

/**
 * A job that writes a line into a file, and then does what it is told.
 */
class Step implements ShouldQueue
{
    use Batchable;
    use Dispatchable;
    use InteractsWithQueue;
    use Queueable;

    public ?int $tries = null;
    public ?int $timeout = null;
    public mixed $backoff = null;
    public ?int $maxExceptions = null;
    public bool $failOnTimeout = false;
    public ?int $retryUntil = null;
    /** @var list<object> */
    public array $through = [];

    public function __construct(public string $path, public string $what = 'return')
    {
    }

    /** Set what the queue looks at. */
    public function with(mixed ...$properties): static
    {
        foreach ($properties as $name => $value) {
            $this->$name = $value;
        }
        return $this;
    }

    public function middleware(): array
    {
        return $this->through;
    }

    public function handle(): void
    {
        $this->write(static::class . ' ' . getmypid() . " attempt {$this->attempts()}");
        switch ($this->what) {
            case 'throw':
                throw new \RangeException('out of range');
            case 'fail':
                $this->fail(new \DomainException('no use'));
                break;
            case 'release':
                $this->release(3600);
                break;
            case 'release once':
                $this->attempts() === 1 ? $this->release(0) : $this->write('done');
                break;
            case 'release at once':
                $this->release(0);
                break;
            case 'hang':
                for (;;) {
                    usleep(1000);
                }
        }
    }

    public function failed(\Throwable $error): void
    {
        $this->write('failed: ' . $error::class);
    }

    public function write(string $line): void
    {
        file_put_contents($this->path, "{$line}\n", FILE_APPEND);
    }
}
