package com.google.common.util.concurrent

import java.util.concurrent.Executor

/** Is done at once. */
class ListenableFuture<T> {
    fun addListener(listener: Runnable, executor: Executor) = executor.execute(listener)
}
