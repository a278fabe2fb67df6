// Named here once, so that both modules are built by one Kotlin. The Android plugin compiles Kotlin itself, with this version.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.kotlin.jvm) apply false
    alias(libs.plugins.kotlin.compose) apply false
}
