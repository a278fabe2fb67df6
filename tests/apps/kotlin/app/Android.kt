package android.app

import android.content.Context

/** No more of Android than the app's own model and pictures ask for, so that they run on a Java machine. */
open class Application : Context()

class ActivityManager {
    class MemoryInfo {
        var availMem = 0L
    }

    fun getMemoryInfo(info: MemoryInfo) {
        info.availMem = free
    }

    companion object {
        var free = 1L shl 30
    }
}
