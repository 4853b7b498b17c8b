<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Symfony;

use Sidecar\Bridge\Signature;
use Sidecar\Bytes;
use Sidecar\Client;
use Sidecar\Exception\SidecarException;
use Sidecar\GiveUp;
use Sidecar\Msgpack;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Exception\LogicException;
use Symfony\Component\Messenger\Exception\TransportException;
use Symfony\Component\Messenger\Stamp\DelayStamp;
use Symfony\Component\Messenger\Stamp\TransportMessageIdStamp;
use Symfony\Component\Messenger\Transport\Receiver\MessageCountAwareInterface;
use Symfony\Component\Messenger\Transport\Serialization\SerializerInterface;
use Symfony\Component\Messenger\Transport\TransportInterface;

/**
 * The request's side: hands each message off. The daemon pushes, so nothing can be received here.
 */
final class Transport implements TransportInterface, MessageCountAwareInterface
{
    public function __construct(
        private readonly Client $client,
        private readonly SerializerInterface $serializer,
        private readonly string $name,
        private readonly string $queue,
        private readonly Signature $signature,
    ) {
    }

    /** @throws TransportException when the daemon refused it, or nobody took it */
    public function send(Envelope $envelope): Envelope
    {
        $delay = $envelope->last(DelayStamp::class);
        $options = $delay === null ? [] : ['delay' => max(0, $delay->getDelay()) / 1000];
        try {
            $message = Msgpack::encode($this->serializer->encode($envelope), 'the message');
            $signed = [$this->name, new Bytes($message), $this->signature->of($message)];
            $job = $this->client->submit(Consumer::class, $signed, ...$options);
        } catch (SidecarException $error) {
            throw new TransportException("cannot hand off the message: {$error->getMessage()}", 0, $error);
        }
        return $envelope->with(new TransportMessageIdStamp($job->id));
    }

    /**
     * Make the envelope again, in the job.
     *
     * @throws GiveUp when the message is not signed by this application
     */
    public function decode(string $message, string $signature): Envelope
    {
        $this->signature->check($message, $signature);
        $envelope = $this->serializer->decode(Msgpack::decode($message));
        $id = getenv('SIDECAR_JOB_ID');
        return $id === false ? $envelope : $envelope->with(new TransportMessageIdStamp($id));
    }

    /** Count the messages of its queue that wait for their turn; those that are delayed do not count. */
    public function getMessageCount(): int
    {
        try {
            return $this->client->stats()['queues'][$this->queue]['queued'] ?? 0;
        } catch (SidecarException $error) {
            throw new TransportException("cannot count the messages: {$error->getMessage()}", 0, $error);
        }
    }

    public function get(): iterable
    {
        throw $this->nothingToConsume();
    }

    public function ack(Envelope $envelope): void
    {
        throw $this->nothingToConsume();
    }

    public function reject(Envelope $envelope): void
    {
        throw $this->nothingToConsume();
    }

    private function nothingToConsume(): LogicException
    {
        return new LogicException(
            "cannot consume transport \"{$this->name}\": the sidecar daemon handles its messages as they come; run"
            . ' `sidecar serve` in the place of messenger:consume'
        );
    }
}
