package android.os

object Build {
    object VERSION {
        const val SDK_INT = 36
    }

    object VERSION_CODES {
        const val Q = 29
    }
}
