package edgevit.app

import androidx.camera.core.CameraSelector
import androidx.camera.core.CameraSelector.Companion.DEFAULT_BACK_CAMERA
import androidx.camera.core.CameraSelector.Companion.DEFAULT_FRONT_CAMERA
import androidx.camera.view.LifecycleCameraController
import androidx.lifecycle.LifecycleOwner
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Test

/** Devices with other cameras than a phone's. */
class LensTest {
    private val owner = object : LifecycleOwner {}
    private var without = 0

    private fun bound(controller: LifecycleCameraController, wanted: Boolean = true) =
        controller.apply { bindAny(owner, { it.run() }, { wanted }) { without++ } }.bound

    @Test
    fun theBackOneBeforeTheFrontOne() {
        assertSame(DEFAULT_BACK_CAMERA, bound(LifecycleCameraController(listOf(DEFAULT_FRONT_CAMERA, DEFAULT_BACK_CAMERA))))
        assertSame(DEFAULT_FRONT_CAMERA, bound(LifecycleCameraController(listOf(DEFAULT_FRONT_CAMERA))))
        assertEquals(0, without)
    }

    @Test
    fun whereThereIsNoneThatIsSaid() {
        val front = listOf(DEFAULT_FRONT_CAMERA)
        for ((cameras, able) in listOf(listOf<CameraSelector>() to true, null to true, front to false)) {
            without = 0
            assertNull(bound(LifecycleCameraController(cameras, able)))
            assertEquals(1, without)
        }
    }

    @Test
    fun whatWasStoppedIsNotBound() {
        assertNull(bound(LifecycleCameraController(listOf(DEFAULT_BACK_CAMERA)), wanted = false))
        assertNull(bound(LifecycleCameraController(listOf()), wanted = false))
        assertEquals(0, without)
    }
}
