<?php

declare(strict_types=1);

namespace App;

use Doctrine\DBAL\Connection;
use Doctrine\DBAL\DriverManager;
use Doctrine\Persistence\ConnectionRegistry;

/**
 * The connection of the failure transport, in the place of DoctrineBundle, which Debian does not have.
 */
final class Registry implements ConnectionRegistry
{
    private ?Connection $connection = null;

    public function __construct(private readonly string $file)
    {
    }

    public function getConnection($name = null)
    {
        return $this->connection ??= DriverManager::getConnection(['driver' => 'pdo_sqlite', 'path' => $this->file]);
    }

    public function getDefaultConnectionName()
    {
        return 'default';
    }

    public function getConnections()
    {
        return ['default' => $this->getConnection()];
    }

    public function getConnectionNames()
    {
        return ['default' => 'default'];
    }
}
