package androidx.compose.runtime

import kotlin.reflect.KProperty

class MutableState<T>(@Volatile var value: T)

fun <T> mutableStateOf(value: T) = MutableState(value)

operator fun <T> MutableState<T>.getValue(owner: Any?, property: KProperty<*>): T = value

operator fun <T> MutableState<T>.setValue(owner: Any?, property: KProperty<*>, value: T) {
    this.value = value
}
