<?php

declare(strict_types=1);

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Support\Facades\DB;

/**
 * The slow work after an order. Nothing in it is about sidecar: it runs on any queue.
 */
final class SendReceipt implements ShouldQueue
{
    use Dispatchable;
    use InteractsWithQueue;
    use Queueable;

    public int $tries = 5;
    public int $timeout = 30;
    /** @var list<int> seconds between the tries; the last one repeats */
    public array $backoff = [1, 10, 60];

    public function __construct(private readonly int $order)
    {
    }

    public function handle(): void
    {
        $email = DB::table('orders')->where('id', $this->order)->value('email');
        if ($email === null) {
            $this->fail(new \DomainException("there is no order {$this->order}")); // and no other try helps
            return;
        }
        DB::table('orders')->where('id', $this->order)->update(['receipt' => "mailed to {$email}"]);
    }
}
