<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Symfony;

use Psr\Container\ContainerInterface;
use Psr\EventDispatcher\EventDispatcherInterface;
use Sidecar\Bridge\Deadline;
use Sidecar\GiveUp;
use Sidecar\TryAgain;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Event\WorkerMessageFailedEvent;
use Symfony\Component\Messenger\Event\WorkerMessageHandledEvent;
use Symfony\Component\Messenger\Event\WorkerMessageReceivedEvent;
use Symfony\Component\Messenger\Exception\HandlerFailedException;
use Symfony\Component\Messenger\Exception\RecoverableExceptionInterface;
use Symfony\Component\Messenger\Exception\UnrecoverableExceptionInterface;
use Symfony\Component\Messenger\MessageBusInterface;
use Symfony\Component\Messenger\Stamp\ConsumedByWorkerStamp;
use Symfony\Component\Messenger\Stamp\ReceivedStamp;
use Throwable;

/**
 * The job's side: one message, in a process that has the kernel in memory and ends with it.
 *
 * The daemon tries again, and not Messenger: a try that was killed counts there too. Messenger hears of a failure when
 * nothing is left to try, and sends the message to the failure transport then.
 */
final class Consumer
{
    private ?Envelope $envelope = null;
    private string $transport = '';

    /** `$receivers` has the transports by their names. */
    public function __construct(
        private readonly ContainerInterface $receivers,
        private readonly MessageBusInterface $bus,
        private readonly ?EventDispatcherInterface $events = null,
    ) {
    }

    /**
     * Handle a message, as the transport packed and signed it.
     */
    public function __invoke(string $transport, string $message, string $signature): void
    {
        Deadline::watch();
        $this->transport = $transport;
        $this->envelope = $this->receivers->get($transport)->decode($message, $signature);
        $received = new WorkerMessageReceivedEvent($this->envelope, $transport);
        $this->events?->dispatch($received);
        $this->envelope = $received->getEnvelope();
        if (!$received->shouldHandle()) {
            return;
        }
        $stamps = [new ReceivedStamp($transport), new ConsumedByWorkerStamp()];
        try {
            $handled = $this->bus->dispatch($this->envelope->with(...$stamps));
        } catch (Throwable $error) {
            throw $this->failure($error);
        }
        $this->events?->dispatch(new WorkerMessageHandledEvent($handled, $transport));
    }

    /** Tell Messenger that no try is left: it sends the message to the failure transport, if there is one. */
    public function failed(Throwable $error): void
    {
        if ($this->envelope === null) {
            return; // it could not even be decoded
        }
        $told = $error instanceof UnrecoverableExceptionInterface ? $error : new NoTryLeft($error);
        $last = new HandlerFailedException($this->envelope, [$told]);
        $this->events?->dispatch(new WorkerMessageFailedEvent($this->envelope, $this->transport, $last));
    }

    /** Return what the job fails with: what its handler threw, and whether that is to be tried again. */
    private function failure(Throwable $error): Throwable
    {
        $nested = [$error];
        if ($error instanceof HandlerFailedException) {
            $this->envelope = $error->getEnvelope()->withoutAll(ReceivedStamp::class);
            $nested = array_values(
                // Symfony 6.4 has both, 7 the first alone
                method_exists($error, 'getWrappedExceptions')
                    ? $error->getWrappedExceptions()
                    : $error->getNestedExceptions()
            );
        }
        $cause = count($nested) === 1 ? $nested[0] : $error;
        $are = static fn (string $kind): array => array_filter($nested, static fn ($one) => $one instanceof $kind);
        foreach ($are(RecoverableExceptionInterface::class) as $one) {
            $pause = method_exists($one, 'getRetryDelay') ? $one->getRetryDelay() : null; // milliseconds
            return $pause === null ? $cause : new TryAgain($pause / 1000, previous: $cause);
        }
        $isHopeless = count($are(UnrecoverableExceptionInterface::class)) === count($nested);
        return $isHopeless ? new GiveUp(previous: $cause) : $cause;
    }
}
