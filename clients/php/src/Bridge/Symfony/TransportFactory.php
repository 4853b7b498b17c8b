<?php

/**
 * `sidecar://default?queue=mail&timeout=30`: a Messenger transport whose messages the sidecar daemon handles as they
 * come, each in a process of its own. There is nothing to consume.
 *
 *     request: dispatch -> Transport::send -> daemon -> a process with the kernel in memory: Consumer -> bus -> handler
 */

declare(strict_types=1);

namespace Sidecar\Bridge\Symfony;

use Sidecar\Bridge\Setup;
use Sidecar\Bridge\Signature;
use Symfony\Component\HttpKernel\KernelInterface;
use Symfony\Component\Messenger\Exception\InvalidArgumentException;
use Symfony\Component\Messenger\Transport\Serialization\SerializerInterface;
use Symfony\Component\Messenger\Transport\TransportFactoryInterface;
use Symfony\Component\Messenger\Transport\TransportInterface;

final class TransportFactory implements TransportFactoryInterface
{
    private const SCHEME = 'sidecar://';
    private const RETRIES = 3; // as Messenger has it for transports that say nothing

    /** The kernel tells the jobs which application is theirs; without one the `bootstrap` option does. */
    public function __construct(private readonly ?KernelInterface $kernel = null)
    {
    }

    /**
     * Make a transport. The options are in the DSN's query or beside it; the query wins.
     *
     * @param array<string, mixed> $options
     * @throws InvalidArgumentException naming the option and what it should be
     */
    public function createTransport(
        #[\SensitiveParameter]
        string $dsn,
        array $options,
        SerializerInterface $serializer,
    ): TransportInterface {
        $name = $options['transport_name'] ?? 'sidecar';
        unset($options['transport_name']);
        try {
            $options = self::query($dsn) + $options;
            if (!filter_var($options['at_most_once'] ?? false, FILTER_VALIDATE_BOOL)) {
                $options += ['retries' => self::RETRIES];
            }
            $env = [];
            if ($this->kernel !== null) {
                $options += ['bootstrap' => __DIR__ . '/bootstrap.php'];
                $env = [
                    'APP_ENV' => $this->kernel->getEnvironment(),
                    'APP_DEBUG' => $this->kernel->isDebug() ? '1' : '0',
                    'KERNEL_CLASS' => $this->kernel::class,
                ];
            } elseif (!isset($options['bootstrap'])) {
                throw new \InvalidArgumentException('without a kernel give the option bootstrap, a PHP file');
            }
            $signature = new Signature([(string) ($options['secret'] ?? $this->secret())]);
            unset($options['secret']);
            $folder = $this->kernel?->getProjectDir() ?? dirname((string) $options['bootstrap']);
            $client = Setup::client($options, $folder, $env);
        } catch (\InvalidArgumentException $error) {
            throw new InvalidArgumentException(
                "cannot make Messenger transport \"{$name}\": {$error->getMessage()}",
                0,
                $error,
            );
        }
        return new Transport($client, $serializer, $name, $options['queue'] ?? 'default', $signature);
    }

    /** Return the application's framework.secret (APP_SECRET), null where it has none. */
    private function secret(): ?string
    {
        $container = $this->kernel?->getContainer();
        return $container?->hasParameter('kernel.secret') ? $container->getParameter('kernel.secret') : null;
    }

    /** @param array<string, mixed> $options */
    public function supports(#[\SensitiveParameter] string $dsn, array $options): bool
    {
        return str_starts_with($dsn, self::SCHEME);
    }

    /** @return array<string, mixed> */
    private static function query(string $dsn): array
    {
        [$place, $query] = explode('?', substr($dsn, strlen(self::SCHEME)), 2) + [1 => ''];
        if (!in_array(rtrim($place, '/'), ['', 'default'], true)) {
            throw new \InvalidArgumentException(
                "the DSN names \"{$place}\", give sidecar://default, and another daemon's folder as runtime_dir=/…"
            );
        }
        parse_str($query, $options);
        return $options;
    }
}
