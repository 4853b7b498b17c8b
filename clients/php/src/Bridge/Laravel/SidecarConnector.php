<?php

declare(strict_types=1);

namespace Sidecar\Bridge\Laravel;

use Illuminate\Queue\Connectors\ConnectorInterface;
use InvalidArgumentException;
use Sidecar\Bridge\Setup;
use Sidecar\Bridge\Signature;

/**
 * A connection of config/queue.php: queue, tries, after_commit, and what else a sidecar client may be told.
 */
final class SidecarConnector implements ConnectorInterface
{
    private const NOT_THE_CLIENT_S = ['driver' => 1, 'name' => 1, 'queue' => 1, 'tries' => 1, 'after_commit' => 1];

    public function __construct(private readonly string $basePath, private readonly Signature $signature)
    {
    }

    /**
     * Make the queue.
     *
     * @param array<string, mixed> $config
     * @throws InvalidArgumentException naming the setting and what it should be
     */
    public function connect(array $config): SidecarQueue
    {
        if (isset($config['retries'])) {
            throw new InvalidArgumentException('cannot use option retries: give tries, which counts the first one too');
        }
        $tries = filter_var($config['tries'] ?? 1, FILTER_VALIDATE_INT, ['options' => ['min_range' => 0]]);
        if ($tries === false) {
            throw new InvalidArgumentException('cannot use option tries: give a whole number, 0 for no limit');
        }
        $settings = array_diff_key($config, self::NOT_THE_CLIENT_S) + ['bootstrap' => __DIR__ . '/bootstrap.php'];
        return new SidecarQueue(
            Setup::client($settings, $this->basePath, []),
            $config['queue'] ?? 'default',
            $tries,
            (bool) ($config['after_commit'] ?? false),
            $this->signature,
        );
    }
}
