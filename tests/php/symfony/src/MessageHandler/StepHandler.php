<?php

declare(strict_types=1);

namespace App\MessageHandler;

use App\Message\Step;
use Symfony\Component\Messenger\Attribute\AsMessageHandler;
use Symfony\Component\Messenger\Exception\RecoverableMessageHandlingException;
use Symfony\Component\Messenger\Exception\UnrecoverableMessageHandlingException;

#[AsMessageHandler]
final class StepHandler
{
    private int $handled = 0;

    public function __construct(private readonly string $outbox)
    {
    }

    public function __invoke(Step $message): int
    {
        $this->handled++;
        $line = getmypid() . " handled {$this->handled} attempt " . getenv('SIDECAR_ATTEMPT') . "\n";
        file_put_contents("{$this->outbox}/steps", $line, FILE_APPEND);
        while ($message->what === 'hang') {
            usleep(1000);
        }
        return match ($message->what) {
            'return' => $this->handled,
            'throw' => throw new \RangeException('out of range'),
            'no use' => throw new UnrecoverableMessageHandlingException('no use'),
            'recoverable' => throw new RecoverableMessageHandlingException('not yet'),
        };
    }
}
