package android.content.res

import java.io.InputStream

class AssetManager {
    fun open(path: String): InputStream = opener(path.removePrefix("bundle/"))

    companion object {
        lateinit var opener: (String) -> InputStream
    }
}
