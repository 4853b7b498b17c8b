<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Contracts\Queue\Queue as QueueContract;
use Illuminate\Queue\Queue;
use LogicException;
use Sidecar\Bridge\Signature;
use Sidecar\Client;
use Sidecar\Job;

/**
 * The request's side: hands Laravel's jobs off, with the tries, pauses and timeout that they ask for. The daemon runs
 * them as they come, so there is nothing to pop, and no `queue:work`.
 */
final class SidecarQueue extends Queue implements QueueContract
{
    private const MOST_RETRIES = 1000;
    private const NO_LIMIT = 366 * 86400; // seconds: what the daemon takes at most

    /** `$tries` is for jobs that name none; 0: no limit. */
    public function __construct(
        private readonly Client $client,
        private readonly string $queueName,
        private readonly int $tries,
        bool $afterCommit,
        private readonly Signature $signature,
    ) {
        $this->dispatchAfterCommit = $afterCommit;
    }

    public function push($job, $data = '', $queue = null)
    {
        return $this->later(null, $job, $data, $queue);
    }

    public function later($delay, $job, $data = '', $queue = null)
    {
        $payload = $this->createPayload($job, $this->getQueue($queue), $data, $delay);
        $send = fn ($payload, $queue, $delay): string => $this->submit([[$payload, $delay]], $queue)[0]->id;
        return $this->enqueueUsing($job, $payload, $queue, $delay, $send);
    }

    /** @return string the job's id */
    public function pushRaw($payload, $queue = null, array $options = [])
    {
        return $this->submit([[$payload, $options['delay'] ?? null]], $queue)[0]->id;
    }

    /** Push several jobs in one write; those that wait for a commit go in one of their own. */
    public function bulk($jobs, $data = '', $queue = null)
    {
        $batches = [];
        foreach ((array) $jobs as $job) {
            $delay = is_object($job) ? $job->delay ?? null : null;
            $payload = $this->createPayload($job, $this->getQueue($queue), $data, $delay);
            $batches[(int) $this->shouldDispatchAfterCommit($job)][] = [$payload, $delay, $job];
        }
        foreach ($batches as $batch) {
            $sent = null;
            foreach ($batch as $place => [$payload, $delay, $job]) {
                $this->enqueueUsing($job, $payload, $queue, $delay, function () use ($batch, $place, $queue, &$sent) {
                    $sent ??= $this->submit($batch, $queue); // by the first of them that gets here
                    return $sent[$place]->id;
                });
            }
        }
    }

    /** @throws LogicException always: `queue:work` reports it */
    public function pop($queue = null)
    {
        throw new LogicException(
            "cannot work on queue connection [{$this->connectionName}]: the sidecar daemon runs its jobs as they come;"
            . ' run `sidecar serve` in the place of queue:work'
        );
    }

    public function size($queue = null)
    {
        return array_sum($this->counts($queue));
    }

    public function pendingSize($queue = null)
    {
        return $this->counts($queue)['queued'];
    }

    public function delayedSize($queue = null)
    {
        return $this->counts($queue)['scheduled'];
    }

    public function reservedSize($queue = null)
    {
        return $this->counts($queue)['running'];
    }

    public function creationTimeOfOldestPendingJob($queue = null)
    {
        return null; // Laravel's word for: not known
    }

    /** Return the queue, or the connection's own for null. */
    public function getQueue($queue): string
    {
        return (string) ($queue ?: $this->queueName);
    }

    /** @return array{scheduled: int, queued: int, running: int} */
    private function counts(?string $queue): array
    {
        $none = ['scheduled' => 0, 'queued' => 0, 'running' => 0];
        return $this->client->stats()['queues'][$this->getQueue($queue)] ?? $none;
    }

    /**
     * Hand jobs off, those of one kind in one write.
     *
     * @param list<array{string, mixed}> $jobs each its payload and its delay
     * @return array<int, Job>
     */
    private function submit(array $jobs, ?string $queue): array
    {
        $queue = $this->getQueue($queue);
        $kinds = [];
        foreach ($jobs as $place => [$payload, $delay]) {
            $terms = $this->terms($payload, $queue, $delay);
            $signed = [$this->connectionName, $queue, $payload, $this->signature->of($payload)];
            $kinds[serialize($terms)][0] = $terms;
            $kinds[serialize($terms)][1][$place] = [Runner::class, $signed];
        }
        $sent = [];
        foreach ($kinds as [$terms, $calls]) {
            $made = count($calls) === 1
                ? [$this->client->submit(...reset($calls), ...$terms)]
                : $this->client->submitAll(array_values($calls), ...$terms);
            $sent += array_combine(array_keys($calls), $made);
        }
        return $sent;
    }

    /** @return array<string, mixed> what the payload asks for, as a client takes it */
    private function terms(string $payload, string $queue, mixed $delay): array
    {
        $asked = json_decode($payload, true);
        $tries = (int) ($asked['maxTries'] ?? $this->tries);
        $noLimit = $tries === 0 || isset($asked['retryUntil']);
        $terms = ['queue' => $queue, 'retries' => $noLimit ? self::MOST_RETRIES : $tries - 1];
        if (isset($asked['timeout'])) {
            $terms['timeout'] = (int) $asked['timeout'] ?: self::NO_LIMIT;
        }
        if (($asked['backoff'] ?? '') !== '') {
            $terms['backoff'] = array_map(floatval(...), explode(',', (string) $asked['backoff']));
        }
        if ($delay !== null) {
            $terms['delay'] = max(0, $this->secondsUntil($delay));
        }
        return $terms;
    }
}
