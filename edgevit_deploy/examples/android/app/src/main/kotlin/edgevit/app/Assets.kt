package edgevit.app

import android.content.res.AssetManager
import edgevit.core.Files
import java.io.InputStream

/** The bundle in the app's assets; `core` checks its paths. */
class Assets(private val assets: AssetManager) : Files {
    override fun open(path: String): InputStream = assets.open("bundle/$path")
}
